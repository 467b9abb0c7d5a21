"""A workflow's run as a tree of lines: its steps, their items and rounds, folded until they fit a terminal.

Pure: rows in, lines out. What works, has failed or waits for a person is folded last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from maestro.cli.escape import escaped
from maestro.cli.live_layout import Line, Look, cut, laid_out
from maestro.cli.run_words import approvals, cost_of, counted, headline, lasted, remark

Row = Mapping[str, Any]
DONE = ("completed", "skipped")
FAILED = ("failed", "timed_out", "cancelled")
FOLDS = 4
APPROVE = "  to approve: "


class Chosen(NamedTuple):
    """What a line is about: an instance, a step with several (`rows`), or steps that are folded (`name`, `text`)."""

    status: str
    depth: int = 0
    row: Row | None = None
    step: str = ""
    rows: Sequence[Row] = ()
    name: str = ""
    text: str = ""

    @property
    def asks(self) -> bool:
        """Whether a person is asked."""
        return self.row is not None and self.row.get("waiting_for") == "approval"


class Tree:
    """A run as it changes. now: the server's time in seconds; last: what instances have printed last."""

    def __init__(self) -> None:
        self.run: Row = {}
        self.rows: dict[str, Row] = {}
        self.steps: dict[str, None] = {}
        self.last: dict[str, str] = {}
        self.now = 0.0

    def take(self, item: Row) -> list[Row]:
        """Take over what has changed: an item of `WorkflowWatch`. The rows that are new or differ."""
        self.now = item["now"]
        self.run = item.get("run") or self.run
        if item.get("whole"):
            self.rows = {}
        for id in item.get("gone", ()):
            self.rows.pop(id, None)
        rows = list(item.get("steps", ()))
        self.rows.update((row["id"], row) for row in rows)
        for row in rows:
            self.steps.setdefault(row["step"])
        self.last = item.get("lines", self.last)
        return rows

    def lines(self, look: Look) -> list[str]:
        """The lines, at most one less than the terminal has."""
        room = max(1, look.height - 1)
        asks = [] if self.run.get("ended_at") else approvals(self.run, self.rows)
        fits = all(len(one) + len(APPROVE) < look.width for one in asks)
        asks = [f"{APPROVE if fits else ''}{one}" for one in asks]
        asks = asks[: max(0, room - 3)]
        left = room - 1 - len(asks)
        groups = self._groups()
        chosen = next((one for fold in range(FOLDS + 1) if len(one := folded(groups, fold)) <= left), None)
        if chosen is None:
            chosen = most(folded(groups, FOLDS), left)
        head = headline(self.run, self.rows, self.now)
        apart = [cut(escaped(line), look.width - 1) for line in (head, *asks)]
        return [apart[0], *laid_out([self._line(one) for one in chosen], look), *apart[1:]]

    def _groups(self) -> dict[str, list[Row]]:
        """The rows by step, in the order in which the steps were told first: that of the definition."""
        groups: dict[str, list[Row]] = {step: [] for step in self.steps}
        for row in self.rows.values():
            groups[row["step"]].append(row)
        return {step: rows for step, rows in groups.items() if rows}

    def _line(self, chosen: Chosen) -> Line:
        if chosen.row is not None:
            return self._instance(chosen.row, chosen.depth)
        if chosen.rows:
            return self._group(chosen)
        return Line(chosen.name, chosen.status, text=chosen.text)

    def _group(self, chosen: Chosen) -> Line:
        rows = chosen.rows
        began = min((row["started_at"] for row in rows if row.get("started_at")), default=None)
        ends = [row.get("ended_at") for row in rows]
        end = max(str(one) for one in ends) if all(ends) else None
        rounds = max(row.get("round") or 1 for row in rows)
        text = (f"round {rounds}: " if rounds > 1 else "") + counted(Counter(row["status"] for row in rows))
        took = lasted(began, end, self.now)
        return Line(chosen.step, chosen.status, 0, "", took, sum(map(cost_of, rows)), text)

    def _instance(self, row: Row, depth: int) -> Line:
        works = row["status"] == "running"
        text = self.last.get(row["id"], "") if works and not row.get("waiting_for") else remark(row, self.now)
        attempt = row.get("attempt") or 0
        if works and attempt > 1:
            text = f"attempt {attempt}" + (f": {text}" if text else "")
        took = lasted(row.get("started_at"), row.get("ended_at"), self.now)
        name = row["id"].removeprefix(row["step"]) if depth and row["id"] != row["step"] else row["id"]
        return Line(name, row["status"], depth, row.get("agent") or "", took, cost_of(row), text)


def folded(groups: Mapping[str, Sequence[Row]], fold: int) -> list[Chosen]:
    """What the lines are about. fold: 0 for all; from 1 without instances that have ended well, from 2 without those
    that wait, from 3 without steps that have ended well, from 4 without steps that wait, at 5 without instances.
    """
    lines: list[Chosen] = []
    ended: list[str] = []
    at_ended, waits = 0, 0
    hidden = (*(DONE if fold >= 1 else ()), *(("waiting",) if fold >= 2 else ()))
    for step, rows in groups.items():
        status = status_of(rows)
        if fold >= 3 and status in DONE:
            at_ended = at_ended if ended else len(lines)
            ended.append(status)
        elif fold >= 4 and status == "waiting" and not any(row["waiting_for"] == "approval" for row in rows):
            waits += 1
        elif len(rows) == 1:
            lines.append(Chosen(status, 0, rows[0]))
        else:
            lines.append(Chosen(status, 0, None, step, rows))
            lines += [Chosen(row["status"], 1, row) for row in rows if row["status"] not in hidden]
    if ended:
        text = counted(Counter(ended)) if len(set(ended)) > 1 else ""
        lines.insert(at_ended, Chosen("completed", name=f"{_steps(len(ended))} ended", text=text))
    if waits:
        lines.append(Chosen("waiting", name=f"{_steps(waits)} wait{'s' if waits == 1 else ''}"))
    return lines


def most(lines: Sequence[Chosen], room: int) -> list[Chosen]:
    """As many as there is room for: steps and what asks first, then some that failed, then what works; the last line
    counts the others.
    """
    if room < 1:
        return []
    failed = [at for at, line in enumerate(lines) if line.status in FAILED and line.row is not None]
    ranks = dict.fromkeys(failed[: room // 3], 1) | dict.fromkeys(failed[room // 3 :], 3)

    def rank(at: int) -> tuple[int, int]:
        line = lines[at]
        first = -1 if line.asks else 0 if line.rows else None
        return ranks.get(at, {"running": 2, "waiting": 4}.get(line.status, 5)) if first is None else first, at

    kept = sorted(sorted(range(len(lines)), key=rank)[: room - 1])
    left = Counter(lines[at].status for at in set(range(len(lines))) - set(kept))
    return [*(lines[at] for at in kept), Chosen("", name=f"and {sum(left.values())} more", text=counted(left))]


def status_of(rows: Sequence[Row]) -> str:
    """The status of a step as a whole: that of what works, else of what waits; at its end of its newest round."""
    newest = max(row.get("round") or 1 for row in rows)
    found = {row["status"] for row in rows if (row.get("round") or 1) == newest}
    order = ("running", "waiting", "failed", "timed_out", "cancelled", "completed", "skipped")
    return next(status for status in order if status in found)


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"
