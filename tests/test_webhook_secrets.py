"""The secrets of webhooks: how they are written, and that they are shown nowhere."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest

from maestro import config
from maestro.model.errors import Invalid
from maestro.runtime.client.connection import _caller

SECRETS = f"whsec_{base64.b64encode(b'a' * 24).decode()}, whsec_{base64.b64encode(b'b' * 32).decode()}"
"""Of webhooks, two of them."""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}


@pytest.mark.parametrize("between", [",", " ", ", ", ",,", "\n"])
def test_secrets_of_webhooks_are_parted_by_commas_or_spaces_and_may_lack_padding(
    env: dict[str, str], between: str
) -> None:
    text = between.join(one.rstrip("=") for one in SECRETS.split(", "))
    assert config.load(env | {"MAESTRO_WEBHOOK_SECRETS": text}).webhook_secrets == (b"a" * 24, b"b" * 32)


@pytest.mark.parametrize(
    "bad",
    [
        *("hunter2", "whsec_hunter2", "whsec_", "whsec_!!!!" + "aaaa" * 9, "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="),
        *("whsec_" + "aaaa" * 30, f"{SECRETS} hunter2", "whsec_aGVs bG8="),
    ],
)
def test_what_is_no_secret_of_a_webhook_is_not_shown_either(env: dict[str, str], bad: str) -> None:
    with pytest.raises(Invalid) as refused:
        config.load(env | {"MAESTRO_WEBHOOK_SECRETS": bad})
    line = refused.value.line()
    assert line.startswith("MAESTRO_WEBHOOK_SECRETS: its value ") and "whsec_$(head" in line
    assert not any(part in line for part in ("hunter2", "aaaa", "aHVu", "YWFh", "aGVs"))


def test_config_show_tells_only_how_many_secrets_there_are(env: dict[str, str]) -> None:
    rows = {row["name"]: row for row in config.show(config.load(env | {"MAESTRO_WEBHOOK_SECRETS": SECRETS}))}
    assert rows["MAESTRO_WEBHOOK_SECRETS"]["value"] == "*** (2)"
    rows = {row["name"]: row for row in config.show(config.load(env))}
    assert rows["MAESTRO_WEBHOOK_SECRETS"]["value"] == ""


def test_the_file_of_settings_may_hold_them(env: dict[str, str]) -> None:
    path = Path(env["HOME"], ".config", "maestro", "config.toml")
    path.parent.mkdir(parents=True)
    path.write_text(f'webhook_secrets = "{SECRETS}"\n')
    assert len(config.load(env).webhook_secrets) == 2
    path.write_text('webhook_secrets = "hunter2"\n')
    with pytest.raises(Invalid) as refused:
        config.load(env)
    assert "hunter2" not in refused.value.line() and str(path) in refused.value.line()


def test_no_daemon_is_told_them_by_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAESTRO_WEBHOOK_SECRETS", SECRETS)
    monkeypatch.setenv("MAESTRO_NAMESPACE", "n")
    assert "MAESTRO_NAMESPACE" in _caller().env
    assert "whsec" not in repr(_caller())
    assert os.environ["MAESTRO_WEBHOOK_SECRETS"]


def test_the_secret_that_an_error_proposes_is_one(env: dict[str, str]) -> None:
    with pytest.raises(Invalid) as refused:
        config.load(env | {"MAESTRO_WEBHOOK_SECRETS": "x"})
    command = refused.value.line().rpartition(": ")[2]
    made = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert len(config.load(env | {"MAESTRO_WEBHOOK_SECRETS": made}).webhook_secrets[0]) == 32
