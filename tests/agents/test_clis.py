"""Installing the agents of the tests: once, whole, by one at a time, and with a reason where it cannot be done.

npm and Node are stand-ins here, so that nothing is fetched.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents import clis
from tests.house.sources import ROOT

NPM = """#!/bin/sh
echo "$@" >>"$CALLS"
[ ! -e "$BROKEN" ] || { echo "npm error the network is away" >&2; exit 7; }
prefix=$3
for package do :; done
mkdir -p "$prefix/node_modules/.bin"
for name in codex kilo qwen s3rver tsc; do
    printf '#!/bin/sh\\necho %s\\n' "${package##*@}" >"$prefix/node_modules/.bin/$name"
    chmod 755 "$prefix/node_modules/.bin/$name"
done
"""


class Machine:
    """A machine with stand-ins for node and npm, and an empty cache."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.broken = folder, folder / "calls", folder / "broken"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, text in {"npm": NPM, "node": "#!/bin/sh\n"}.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        self.env = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        self.env |= {"CALLS": str(self.calls), "BROKEN": str(self.broken)}

    def start(self) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        script = [sys.executable, "tests/agents/clis.py"]
        return subprocess.Popen(script, cwd=ROOT, env=self.env, stdout=pipe, stderr=pipe, text=True)

    def set_up(self) -> tuple[int, str, str]:
        process = self.start()
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def asked(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_each_agent_is_installed_once_at_its_pinned_version(machine: Machine) -> None:
    code, out, _ = machine.set_up()
    assert code == 0
    assert [line.rpartition(" ")[2] for line in machine.asked()] == [
        "@openai/codex@0.169.0",
        "@kilocode/cli@7.7.7",
        "@qwen-code/qwen-code@0.15.10",
        "s3rver@3.7.1",
        "typescript@5.9.3",
    ]
    assert out.count(str(machine.folder / "cache/maestro-tests/agents")) == 5
    assert machine.set_up()[0] == 0
    assert len(machine.asked()) == 5


def test_two_at_once_install_each_agent_once(machine: Machine) -> None:
    processes = [machine.start(), machine.start()]
    assert [process.communicate(timeout=60) and process.returncode for process in processes] == [0, 0]
    assert len(machine.asked()) == 5


def test_what_failed_is_left_out_with_the_reason_and_done_the_next_time(machine: Machine) -> None:
    machine.broken.touch()
    code, _, err = machine.set_up()
    assert code == 1
    assert "left out: kilo 7.7.7: npm ended with 7: npm error the network is away" in err
    assert not (machine.folder / "cache/maestro-tests/agents/kilo-7.7.7").exists()
    machine.broken.unlink()
    assert machine.set_up()[0] == 0


def test_without_node_every_agent_is_left_out_by_name(machine: Machine) -> None:
    for program in machine.bin.iterdir():
        program.unlink()
    machine.env["PATH"] = str(machine.bin)
    code, _, err = machine.set_up()
    assert code == 1
    for cli in clis.CLIS:
        assert f"left out: {cli.name} {cli.version}: Node and npm are not on PATH" in err


def test_the_summary_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENT_CLIS_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert clis.installed() == {}
    lines = clis.left_out()
    assert len(lines) == 3
    assert lines[0] == "codex 0.169.0 (Node is not on PATH; install Node, then run tools/agent-clis)"
    assert os.listdir(tmp_path) == []
