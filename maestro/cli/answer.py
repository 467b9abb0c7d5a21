"""Executes a command and prints its answer: loads the settings, calls the client, returns the exit code.

One function for each kind of answer: rows, one object, an endless stream, plain text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from maestro import config
from maestro.cli import printer
from maestro.cli.column import Column
from maestro.cli.escape import escaped
from maestro.cli.printer import JsonRows, Row
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

Take = Callable[[Any], None]
SPINS_A_SECOND = 12.5
LINES_LEFT = 4
"""How many lines of a terminal the last lines of agents leave to the rest."""


class Progress:
    """Prints the notes of a command on stderr; notes of level `progress` share one place, on a terminal only: a line
    with a spinner, and below it what agents have printed last.
    """

    def __init__(self) -> None:
        self._live: Live | None = None
        self._warned: set[str] = set()

    def tell(self, note: p.Note) -> None:
        """Show a note; the same warning once only."""
        if note.level == "warn" and note.text in self._warned:
            return
        self._warned.add(note.text)
        if note.level != "progress":
            self.stop()
            printer.tell(note.text)
        elif sys.stderr is not None and sys.stderr.isatty():
            self._show(note)

    def _show(self, note: p.Note) -> None:
        from rich.console import Group
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        if self._live is None:
            console = _console()
            self._spinner = Spinner("dots", style="status.spinner")
            self._live = Live(console=console, refresh_per_second=SPINS_A_SECOND, transient=True)
            self._live.start()
        self._spinner.update(text=Text(escaped(note.text)))
        room = max(0, self._live.console.height - LINES_LEFT)
        told = [escaped(line.expandtabs(4)) for line in note.below][-room:] if room else []
        below = [Text(f"  {line}", style="dim", no_wrap=True, overflow="ellipsis") for line in told]
        self._live.update(Group(self._spinner, *below))

    def stop(self) -> None:
        """Remove the progress line, before anything else is printed."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def _console() -> Console:
    """Stderr, with the cursor left to be seen: a command that is killed or stopped could not show it again."""
    from rich.console import Console

    class WithCursor(Console):
        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002 - as rich has it
            return False

    return WithCursor(stderr=True, highlight=False)


class Kept(Exception):
    """Raised in place of carrying out the first command of a command line that is read for a schedule."""

    def __init__(self, command: p.Command) -> None:
        super().__init__(command)
        self.command = command


_keeps = False


def kept(command_line: Callable[[], object]) -> p.Command | None:
    """The first command that a command line would carry out; it is not. None where there is none."""
    global _keeps
    _keeps = True
    try:
        command_line()
    except Kept as found:
        return found.command
    finally:
        _keeps = False
    return None


def carry_out(command: p.Command, take: Take, progress: Progress | None = None) -> p.Done | p.Failed:
    """Execute a command; `take` gets the rows of its answer. Prints its notes, raw output and error.

    progress: shared with the commands before, where one command line executes several.
    """
    if _keeps:
        raise Kept(command)
    progress = progress or Progress()

    def show(message: p.Note | p.Item | p.Output) -> None:
        if isinstance(message, p.Note):
            progress.tell(message)
            return
        progress.stop()
        if isinstance(message, p.Item):
            take(message.data)
        else:
            printer.write_text(message.text)

    settings = config.load()
    try:
        end = client.execute(command, settings, show)
    finally:
        progress.stop()
    if isinstance(end, p.Failed):
        if settings.log_level == "DEBUG" and end.traceback and sys.stderr is not None:
            print(end.traceback, file=sys.stderr)
        printer.flush()
        line = f"{end.where}: {end.what}" if end.where else end.what
        printer.tell(f"{line}; {end.mend}" if end.mend else line)
    return end


def _code(end: p.Done | p.Failed) -> int:
    """The exit code of an answer that is printed; says what was left out of that."""
    if isinstance(end, p.Done) and end.cut is not None:
        printer.flush()
        printer.tell(end.cut.line())
    return end.exit_code


def rows(
    command: p.Command,
    columns: Sequence[Column],
    chosen: str | None,
    empty: str = "nothing to show",
    counted: bool = False,
) -> int:
    """Print the rows of an answer as a list. Returns the exit code.

    counted: as JSON print an object instead, with the rows, whether they are all, and how many there are.
    """
    if printer.wants_json(chosen):
        listed = JsonRows(counted)
        end = carry_out(command, listed.add)
        if isinstance(end, p.Done):
            listed.end(end.cut is not None, end.cut.total if end.cut else None)
        return _code(end)
    kept: list[Row] = []
    end = carry_out(command, kept.append)
    if isinstance(end, p.Done):
        printer.write_table(columns, kept, empty)
    return _code(end)


def one(
    command: p.Command,
    chosen: str | None,
    show: Callable[[Row], None] = printer.write_object,
    also: Callable[[Row], None] | None = None,
) -> int:
    """Print an answer that is one object. Returns the exit code.

    show: prints the object on a terminal; also: writes more about it to stderr.
    """
    kept: list[Any] = []
    end = carry_out(command, kept.append)
    data = end.data if isinstance(end, p.Done) and end.data is not None else (kept[-1] if kept else None)
    if isinstance(end, p.Done) and data is not None:
        show_one(data, chosen, show, also)
    return _code(end)


def show_one(
    data: Row, chosen: str | None, show: Callable[[Row], None], also: Callable[[Row], None] | None = None
) -> None:
    """Print an object, as `one` does."""
    if printer.wants_json(chosen):
        printer.write_json(data)
    else:
        show(data)
    if also is not None:
        also(data)


def stream(command: p.Command, columns: Sequence[Column], chosen: str | None) -> int:
    """Print rows as they arrive, without an end: JSON Lines, or lines of columns. Returns the exit code."""
    as_json = printer.wants_json(chosen)

    def take(row: Any) -> None:
        if as_json:
            printer.write_json(row)
        else:
            printer.write_line("  ".join(printer.cell(column, row) for column in columns))
            printer.flush()

    return carry_out(command, take).exit_code


def text(command: p.Command) -> int:
    """Execute a command whose answer is raw text, which is printed as it arrives. Returns the exit code."""
    return carry_out(command, lambda _: None).exit_code
