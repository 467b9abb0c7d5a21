"""The units of `tools/systemd/` are what systemd takes, fit the daemon, and are as hardened as agents allow."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from maestro.runtime.daemon import departure, service_notices
from tests.house import sources

FOLDER = sources.ROOT / "tools" / "systemd"
UNITS = sorted(path.relative_to(FOLDER) for path in FOLDER.rglob("*.service"))
NODES = [unit for unit in UNITS if unit.name == "maestro.service"]
IMPOSSIBLE = (
    *("RestrictNamespaces", "PrivateUsers", "SystemCallFilter", "ProtectKernelTunables", "ProtectKernelLogs"),
    *("ProtectProc", "ProcSubset", "ProtectControlGroups", "MemoryDenyWriteExecute", "PrivateNetwork"),
    *("IPAddressDeny", "RestrictSUIDSGID", "PrivateTmp", "DynamicUser"),
)
"""What would keep agents from their work."""
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE_MAX = {"maestro.service": 5.0, "maestro-monitor.service": 2.0}


def settings(unit: Path) -> dict[str, str]:
    """The settings of a unit's service, the last one of a name."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(FOLDER / unit)
    return dict(parser["Service"]) | {f"Unit.{key}": value for key, value in parser["Unit"].items()}


def seconds(text: str) -> float:
    return float(text) if text.isdigit() else 60 * float(text.removesuffix("min"))


@pytest.mark.parametrize("unit", NODES, ids=str)
def test_a_node_ends_in_order_and_is_watched(unit: Path) -> None:
    found = settings(unit)
    assert (found["Type"], found["NotifyAccess"], found["KillMode"]) == ("notify", "main", "mixed")
    assert found["ExecStart"].endswith("/maestro worker")
    assert seconds(found["TimeoutStopSec"]) > departure.END_S_MAX + departure.HOLD_S_MAX + 2 * departure.AFTER_GRACE_S
    assert seconds(found["WatchdogSec"]) > service_notices.STILL_S_MAX
    assert found["Unit.StartLimitIntervalSec"] == "0"
    assert not set(IMPOSSIBLE) & set(found)


def test_the_unit_says_of_each_hardening_that_is_left_out_why() -> None:
    text = (FOLDER / "maestro.service").read_text().partition("# Impossible")[2]
    assert not [name for name in IMPOSSIBLE if name not in text]


def test_the_monitor_starts_no_agents_so_that_it_leaves_nothing_out() -> None:
    found = settings(Path("maestro-monitor.service"))
    assert "MAESTRO_AUTOSTART=false" in found["Environment"]
    assert found["ExecStart"].split()[1:] == ["monitor", "start", "$MONITOR_OPTIONS"]
    possible = set(IMPOSSIBLE) - {"PrivateNetwork", "IPAddressDeny", "DynamicUser", "ProtectProc", "ProcSubset"}
    assert not possible - set(found)


def analyze(tmp_path: Path, *words: str, user: bool = False) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on the units as copied into a folder, where their program is one that is there."""
    for unit in UNITS:
        if (len(unit.parts) > 1) is user:
            text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", (FOLDER / unit).read_text(), flags=re.MULTILINE)
            (tmp_path / unit.name).write_text(text)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "SYSTEMD_LOG_LEVEL": "warning"}
    return subprocess.run(
        [ANALYZE or "false", *words], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )


if ANALYZE:

    def test_systemd_takes_the_units_without_a_word(tmp_path: Path) -> None:
        names = [unit.name for unit in UNITS if len(unit.parts) == 1]
        done = analyze(tmp_path, "verify", "--man=no", *(f"./{name}" for name in names))
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        mine = tmp_path / "user"
        mine.mkdir()
        done = analyze(mine, "verify", "--user", "--man=no", "./maestro.service", user=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def test_a_setting_that_systemd_does_not_know_is_found(tmp_path: Path) -> None:
        (tmp_path / "x.service").write_text("[Service]\nExecStart=/bin/true\nKillMood=mixed\n")
        done = analyze(tmp_path, "verify", "--man=no", "./x.service")
        assert "KillMood" in done.stderr

    @pytest.mark.parametrize("name", sorted(EXPOSURE_MAX))
    def test_they_are_as_hardened_as_they_were(tmp_path: Path, name: str) -> None:
        done = analyze(tmp_path, "security", "--offline=yes", "--no-pager", f"./{name}")
        (exposure,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
        assert float(exposure) <= EXPOSURE_MAX[name], done.stdout
