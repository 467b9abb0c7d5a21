"""`agent health --detail` for people: all that was measured, a line each."""

from __future__ import annotations

from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted


def test_each_detail_has_a_line_of_its_own(maestro: CommandLine, daemon: Scripted) -> None:
    sample = {"at": "2026-05-01T12:00:00.000Z", "processes": "2"}
    report = {"id": "a", "status": "healthy", "checks": [], "log": [], "state": "idle"}
    daemon.answers(p.Done({**report, "detail": {"type": "worker", "run": None, "sample": sample}}))
    lines = maestro.on_terminal("agent", "health", "a", "--detail").out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "status: healthy",
        "state",
        "type",
        "sample at",
        "sample processes",
    ]
    assert lines[-1].endswith("  2")
