"""Which open task waits for which: the graph of dependencies, with how its settled ends ended.

Tasks that nobody waits for are forgotten when they end, so a dependency named later may be unknown here: it is then
`missing` until its row is supplied.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from maestro.model.task import Task


class Dependencies:
    """unmet: by open task, what it waits for; waiting: by dependency, the open tasks that named it; settled: the
    status of ended dependencies; missing: unknown tasks, with the position that a row of theirs must have reached."""

    def __init__(self) -> None:
        self.unmet: dict[str, set[str]] = {}
        self.waiting: dict[str, dict[str, None]] = {}
        self.settled: dict[str, str] = {}
        self.missing: dict[str, int] = {}

    def add(self, row: Task, known: Container[str], seq: int) -> None:
        """An open task. known: the open tasks; seq: now."""
        unmet = self.unmet[row.id] = set()
        for name in row.depends_on:
            self.waiting.setdefault(name, {})[row.id] = None
            if row.begun or self.settled.get(name) == "completed":
                continue
            unmet.add(name)
            if name not in known and name not in self.settled:
                self.missing.setdefault(name, seq)

    def begin(self, row: Task) -> None:
        """It has a run, so no dependency holds it any more."""
        self.unmet[row.id].clear()

    def settle(self, name: str, status: str) -> list[str]:
        """The task has ended so; those that waited for it, of which some may now have nothing left in `unmet`."""
        waiting = list(self.waiting.get(name, ()))
        if waiting:
            self.settled[name] = status
        if status == "completed":
            for other in waiting:
                self.unmet[other].discard(name)
        return waiting

    def reopen(self, name: str, tasks: Mapping[str, Task], seq: int) -> None:
        """A finished task is open again: its row is missing, and who named it and has not begun waits again."""
        self.missing[name] = seq
        self.settled.pop(name, None)
        for other in self.waiting.get(name, ()):
            if not tasks[other].begun:
                self.unmet[other].add(name)

    def forget(self, row: Task) -> None:
        """The task has ended: it waits for nothing any more."""
        self.unmet.pop(row.id, None)
        for name in row.depends_on:
            waiting = self.waiting.get(name, {})
            waiting.pop(row.id, None)
            if not waiting:
                self.waiting.pop(name, None)
                self.settled.pop(name, None)

    def failed(self, row: Task, finished: Mapping[str, str]) -> str:
        """Why the task can never start, or "". finished: tasks that are about to end, with their status."""
        if not self.unmet[row.id] or row.begun:
            return ""
        for name in row.depends_on:
            status = finished.get(name) or self.settled.get(name, "completed")
            if status != "completed":
                return f"it depends on task {name}: {status}"
        return ""
