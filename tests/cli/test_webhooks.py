"""Webhooks on the command line: URLs are looked at before anything is begun, and what did not arrive is listed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maestro.cli.audit import _what
from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted

ROW = {
    "alert": "disk:n",
    "of": "raised",
    "endpoint": "00ff",
    "state": "failed",
    "attempts": 3,
    "why": "it answered 500",
}


@pytest.mark.parametrize("url", ["", "ftp://hunter2/", "http://user:hunter2@127.0.0.1/", "https://ex ample/hunter2"])
def test_a_url_that_cannot_be_a_webhook_begins_nothing(maestro: CommandLine, home: Path, url: str) -> None:
    result = maestro.here("monitor", "start", "--alert-webhook", "https://example.com/", "--alert-webhook", url)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith("maestro: --alert-webhook: ") and "hunter2" not in result.err
    assert not (home / "daemon.lock").exists()


def test_what_did_not_arrive_is_listed(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Item(ROW), p.Done())
    result = maestro.here("monitor", "alerts", "--undelivered")
    assert (result.code, json.loads(result.out)) == (0, [ROW])
    assert daemon.commands[-1] == p.AlertList(limit=100, undelivered=True)
    table = maestro.here("monitor", "alerts", "--undelivered", "--format", "table").out
    assert table.splitlines()[1].split() == ["disk:n", "raised", "00ff", "failed", "3", "it", "answered", "500"]
    assert maestro.here("monitor", "alerts", "--undelivered", "--all").code == 2


def test_the_audit_tells_what_became_of_a_delivery() -> None:
    attempted = {"delivery": "d", "attempt": 2, "why": "it answered 500", "status": 500, "retry_at": 1_767_225_600_000}
    assert _what(attempted) == "status=500 why=it answered 500 attempt=2 retry_at=2026-01-01T00:00:00Z"
    queued = {"delivery": "d", "endpoint": "00ff", "alert": "disk:n", "kind": "raised", "behind": 1}
    assert _what(queued) == "alert=disk:n kind=raised"
    assert _what({"alert": "disk:n", "attempt": 1}) == ""
