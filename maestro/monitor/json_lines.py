"""What a monitor sees as lines of JSON, for logs: one for each look, one for each change of an alert.

Lines are written in a thread: a reader that takes none delays neither looks nor deliveries.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from maestro.model.errors import StoreAway, StoreUnsafe
from maestro.monitor.daemon_link import DaemonLink
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import Row, when

ALERTS_MAX = 1000
"""So many alerts are compared with those of the look before; of more changes between two looks some have no line."""

Write = Callable[[Row], None]


class JsonLines:
    """Writes a line for what a look has found. write: writes one; may block."""

    def __init__(self, link: DaemonLink, write: Write) -> None:
        self._link = link
        self._write = write
        self._away: tuple[str, float] | None = None
        self._known: dict[str, Row] = {}
        self._began = ""

    async def show(self, look: Row) -> None:
        """Write what has changed, and the look itself."""
        is_up = bool(look["store"]["up"])
        if is_up:
            await self._back()
            try:
                answer = await self._link.ask(p.AlertList(all=True, limit=ALERTS_MAX))
            except (StoreAway, StoreUnsafe) as error:
                is_up, look = False, look | {"store": look["store"] | {"up": False, "why": error.line()}}
            else:
                for line in self._changes(answer.rows, look["at"]):
                    await self._put(line)
        await self._put(_short(look))
        if not is_up:
            await self.away("store", str(look["store"].get("why") or "it does not answer"))

    async def away(self, what: str, why: str) -> None:
        """Write that the daemon or the store is away, once."""
        if self._away is None or self._away[0] != what:
            self._away = what, time.monotonic()
            await self._put({"kind": "away", "at": _now(), "what": what, "why": why})

    async def _back(self) -> None:
        if self._away is not None:
            what, since = self._away
            self._away = None
            after_s = round(time.monotonic() - since, 1)
            await self._put({"kind": "back", "at": _now(), "what": what, "after_s": after_s})

    def _changes(self, rows: list[Row], at: str) -> list[Row]:
        """The lines of alerts: at first those that are open, later what has happened to them."""
        found: list[tuple[str, str, Row]] = []
        is_first, self._began = not self._began, self._began or at
        for row in rows:
            before = self._known.get(row["id"])
            if is_first:
                if not row["resolved_at"]:
                    found.append((row["raised_at"], "open", row))
                continue
            raised, resolved, snoozed = (row[name] or "" for name in ("raised_at", "resolved_at", "snoozed_until"))
            known = {name: (before or {}).get(name) or "" for name in ("raised_at", "resolved_at", "snoozed_until")}
            if raised > max(known["raised_at"], self._began if before is None else ""):
                found.append((raised, "raised", row | {"resolved_at": None, "how": None, "reason": None}))
            if resolved > max(known["resolved_at"], self._began if before is None else ""):
                found.append((resolved, "resolved", row))
            if before is not None and snoozed != known["snoozed_until"] and (snoozed or not row["resolved_at"]):
                found.append((at, "snoozed" if snoozed else "snooze_ended", row))
        self._known = {row["id"]: row for row in rows}
        found.sort(key=lambda one: one[0])
        return [{"kind": "alert", "at": when_, "event": event, **row} for when_, event, row in found]

    async def _put(self, line: Row) -> None:
        await trio.to_thread.run_sync(self._write, line, abandon_on_cancel=True)


def _short(look: Row) -> Row:
    queue: dict[str, Any] = look.get("queue") or {}
    return {
        "kind": "look",
        "at": look["at"],
        "node": look["node"],
        "position": look["position"],
        "store": "up" if look["store"]["up"] else "away",
        "nodes": dict(Counter(node["status"] for node in look["nodes"])),
        "agents": look["agents_by_state"],
        "waiting": queue.get("waiting"),
        "running": queue.get("running"),
        "runs": look["runs_open"],
        "alerts": look["alerts_open"],
        "snoozed": look["alerts_snoozed"],
    }


def _now() -> str | None:
    return when(time.time_ns() // 1_000_000)
