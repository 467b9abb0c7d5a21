"""The dependencies of open tasks: which task waits for which, and how those that have ended did end.

Tasks that nobody waits for are forgotten when they end, so a dependency named later may be unknown here: it is then
`missing` until its row is supplied.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from maestro.model.task import Task


class Dependencies:
    """The graph of dependencies.

    unmet: by open task, what it waits for; waiting: by dependency, the open tasks that named it; settled: the status of
    ended dependencies; missing: unknown tasks, with the position that a row of theirs must have reached.
    """

    def __init__(self) -> None:
        self.unmet: dict[str, set[str]] = {}
        self.waiting: dict[str, dict[str, None]] = {}
        self.settled: dict[str, str] = {}
        self.missing: dict[str, int] = {}

    def add(self, row: Task, known: Container[str], seq: int) -> None:
        """Take in an open task. known: the open tasks; seq: the position of the plan."""
        unmet = self.unmet[row.id] = set()
        for name in row.depends_on:
            self.waiting.setdefault(name, {})[row.id] = None
            if row.begun or self.settled.get(name) == "completed":
                continue
            unmet.add(name)
            if name not in known and name not in self.settled:
                self.missing.setdefault(name, seq)

    def begin(self, row: Task) -> None:
        """Let no dependency hold a task any more: it has a run."""
        self.unmet[row.id].clear()

    def settle(self, name: str, status: str) -> list[str]:
        """Take in how a task has ended; the tasks that waited for it, of which some may now have nothing in `unmet`."""
        waiting = list(self.waiting.get(name, ()))
        if waiting:
            self.settled[name] = status
        if status == "completed":
            for other in waiting:
                self.unmet[other].discard(name)
        return waiting

    def reopen(self, name: str, tasks: Mapping[str, Task], seq: int) -> list[str]:
        """Take in that a finished task is open again: its row is missing, and dependents without a run wait again.

        These dependents.
        """
        self.missing[name] = seq
        self.settled.pop(name, None)
        again = [other for other in self.waiting.get(name, ()) if not tasks[other].begun]
        for other in again:
            self.unmet[other].add(name)
        return again

    def forget(self, row: Task) -> None:
        """Forget a task that has ended."""
        self.unmet.pop(row.id, None)
        for name in row.depends_on:
            waiting = self.waiting.get(name, {})
            waiting.pop(row.id, None)
            if not waiting:
                self.waiting.pop(name, None)
                self.settled.pop(name, None)

    def failed(self, row: Task, finished: Mapping[str, str]) -> str:
        """Why a task can never start, or "". finished: tasks that are about to end, with their status."""
        if not self.unmet[row.id] or row.begun:
            return ""
        for name in row.depends_on:
            status = finished.get(name) or self.settled.get(name, "completed")
            if status != "completed":
                return f"it depends on task {name}: {status}"
        return ""
