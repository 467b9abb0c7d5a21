"""A run of a workflow as it goes on, in the foreground: a tree on a terminal, elsewhere a line for each change.

Both are drawn on stderr; stdout is left to the answer, which is the run as it ended.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from maestro.cli import answer, printer, run_forms
from maestro.cli.answer import Progress, carry_out
from maestro.cli.run_words import remark
from maestro.model.ids import typed_instance
from maestro.runtime.protocol import messages as p

Row = Mapping[str, Any]
NARROW, LOW = 60, 8
"""Terminals with fewer columns or lines get a line for each change."""


def follow(
    run: str,
    chosen: str | None,
    timeout_s: float | None = None,
    quiet: bool = False,
    introduced: bool = False,
    show: Callable[[Row], None] | None = None,
) -> int:
    """Wait for a run, show meanwhile what it does, and print how it ended. Returns the exit code.

    chosen: the value of --format. quiet: show nothing meanwhile. introduced: it was told already which run it is.
    show: prints how it ended, where that is not JSON; None for what the tree has not shown.
    """
    shown = None if quiet else _tree() or ChangeLines()
    if shown is not None:
        shown.introduced = introduced
    tree = shown if isinstance(shown, LiveTree) else None
    command = p.WorkflowWatch(run, timeout_s, rows=not quiet, lines=tree is not None)
    end = carry_out(command, shown.take if shown else lambda _: None, tree)
    if isinstance(end, p.Done) and end.data is not None:
        default = run_forms.show_run if tree is None else run_forms.show_rest
        answer.show_one(end.data, chosen, show or default)
        if not quiet:
            run_forms.tell_failure(end.data)
    return end.exit_code


def _tree() -> LiveTree | None:
    """A tree on stderr, if that is a terminal which can show one."""
    if sys.stderr is None or not sys.stderr.isatty() or printer.is_dumb():
        return None
    tree = LiveTree()
    width, height = tree.screen.size()
    return tree if width >= NARROW and height >= LOW else None


class LiveTree(Progress):
    """Draws a run as a tree; notes are printed above it."""

    def __init__(self) -> None:
        super().__init__()
        from maestro.cli.live_screen import Screen
        from maestro.cli.live_tree import Tree

        self.introduced = False
        self.screen = Screen(sys.stderr)
        self.tree = Tree()
        self._ascii = "utf" not in (sys.stderr.encoding or "").lower()

    def take(self, item: Row) -> None:
        """Take over what has changed, and draw it."""
        if not self.introduced and item.get("run"):
            self.introduced = True
            printer.tell(run_forms.introduced(item["run"]))
        self.tree.take(item)
        self._draw()

    def _draw(self) -> None:
        from maestro.cli.live_layout import Look

        width, height = self.screen.size()
        self.screen.draw(self.tree.lines(Look(width, height, printer.is_styled(), self._ascii)), width)

    def tell(self, note: p.Note) -> None:
        """Print a note where the tree was, and the tree below it; what is to stand below the tree stands there."""
        if note.level == "below":
            self.screen.leave()
            super().tell(note)
        elif note.level != "progress":
            self.screen.erase()
            super().tell(note)
            if self.tree.run:
                self._draw()

    def stop(self) -> None:
        """Nothing: the tree stands for good, and what is printed next stands below it."""


class ChangeLines:
    """Tells each change of a run in a line on stderr."""

    def __init__(self) -> None:
        self.introduced = False
        self._known: dict[str, tuple[Any, ...]] = {}
        self._run: tuple[Any, ...] = ()

    def take(self, item: Row) -> None:
        """Tell what has changed."""
        run = item.get("run") or {}
        if run and not self.introduced:
            self.introduced = True
            printer.tell(run_forms.introduced(run))
        for row in sorted(item.get("steps", ()), key=_happened):
            state = (row["status"], row["waiting_for"], row.get("attempt"))
            if state != self._known.get(row["id"]):
                self._known[row["id"]] = state
                if said := _said(run, row):
                    printer.tell(f"{row['id']}: {said}")
        whole = (run.get("status"), run.get("paused"), run.get("idle"))
        if run and whole != self._run:
            self._run = whole
            if run.get("status") in ("queued", "paused"):
                printer.tell(f"run {run['id']} is {run_forms.state(run)}")
            if run.get("idle"):
                printer.tell(run_forms.idle(run))


def _happened(row: Row) -> str:
    """When an instance came to be as it is: what changed between two looks is told in that order."""
    return str(row.get("ended_at") or row.get("since") or row.get("started_at") or "~")  # after all times


def _said(run: Row, row: Row) -> str:
    """A change in words, "" where it says nothing: a step waits for its needs or for room at first."""
    status = str(row["status"])
    if status == "waiting":
        if row["waiting_for"] == "approval":
            return f"{remark(row)}; to approve: maestro workflow approve {run.get('id')} {typed_instance(row['id'])}"
        return remark(row) if row["waiting_for"] in ("retry", "agent") else ""
    if row["waiting_for"] == "permission":
        return f"{remark(row)}; to answer: maestro task answer {row['task']} allow (or reject)"
    if status == "running":
        attempt = row.get("attempt") or 1
        return "running" + (f", {row['agent']}" if row.get("agent") else "") + (
            f", attempt {attempt}" if attempt > 1 else ""
        )  # fmt: skip
    word = status.replace("_", " ")
    why = remark(row).removeprefix(f"{word}: ")
    return word + (f": {why}" if why and why != word else "")
