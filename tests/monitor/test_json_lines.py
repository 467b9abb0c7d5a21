"""The lines of a monitor for logs: what happened to an alert between two looks has a line each, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maestro import config
from maestro.monitor.daemon_link import DaemonLink
from maestro.monitor.json_lines import JsonLines


def row(alert: str, raised: int, resolved: int = 0, snoozed: int = 0) -> dict[str, Any]:
    def at(minute: int) -> str | None:
        return f"2026-01-01T00:{minute:02}:00.000Z" if minute else None

    times = {"raised_at": at(raised), "resolved_at": at(resolved), "snoozed_until": at(snoozed)}
    return {"id": alert, "how": "recovered" if resolved else None, "reason": None, **times}


def test_each_change_of_an_alert_has_one_line(tmp_path: Path) -> None:
    settings = config.load({"HOME": str(tmp_path), "MAESTRO_HOME": str(tmp_path)}, tmp_path)
    lines = JsonLines(DaemonLink(settings), print)
    told: list[list[tuple[str, str]]] = []
    for minute, rows in (
        (10, [row("a:", 1), row("old:", 1, 2)]),
        (20, [row("a:", 1), row("b:", 11), row("older:", 1, 2)]),  # an old one that was not among the rows before
        (30, [row("a:", 1, 21), row("b:", 11, snoozed=59), row("c:", 22, 23)]),
        (40, [row("a:", 31), row("b:", 11, snoozed=59), row("c:", 32, 33)]),
        (50, [row("a:", 31), row("b:", 11), row("c:", 32, 33)]),
        (55, [row("a:", 31, 51), row("b:", 11), row("c:", 32, 33)]),
    ):
        found = lines._changes(rows, f"2026-01-01T00:{minute}:00.000Z")
        told.append([(line["id"], line["event"]) for line in found])
        assert [line["at"] for line in found] == sorted(line["at"] for line in found)
        assert all(line["how"] is None for line in found if line["event"] == "raised")
    assert told == [
        [("a:", "open")],
        [("b:", "raised")],
        [("a:", "resolved"), ("c:", "raised"), ("c:", "resolved"), ("b:", "snoozed")],
        [("a:", "raised"), ("c:", "raised"), ("c:", "resolved")],
        [("b:", "snooze_ended")],
        [("a:", "resolved")],
    ]
