"""What a server sends: its greeting, then notes, rows and raw text, then one end."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.runtime.protocol.cut import Cut


class Welcome(msgspec.Struct, frozen=True, tag_field="kind", tag="welcome"):
    """The server accepts the command that follows. notices: lines for stderr (limits that differ, a low disk).

    namespace, store: what the server serves, so that a client of another one (by its environment) does not write into
    the wrong one; store is the URL that was set, "" for none. Both are "" on the socket of a run.
    """

    build: str
    node: str
    notices: list[str] = []
    namespace: str = ""
    store: str = ""


class Skew(msgspec.Struct, frozen=True, tag_field="kind", tag="skew"):
    """The server has another protocol, build or folds: it drains, without killing runs, and is then restarted.

    running: how many runs it still has.
    """

    build: str
    protocol: int
    running: int


class Note(msgspec.Struct, frozen=True, tag_field="kind", tag="note"):
    """A line for stderr: progress, warnings, hints. level: info, warn, progress, or below: what stands
    behind what is drawn.

    below: of progress, more lines for a terminal: the last ones that agents have printed, without control sequences.
    """

    text: str
    level: str = "info"
    below: list[str] = []


class Item(msgspec.Struct, frozen=True, tag_field="kind", tag="item"):
    """One row of the answer, as JSON-ready data."""

    data: Any


class Output(msgspec.Struct, frozen=True, tag_field="kind", tag="output"):
    """Raw text for stdout (logs). Already redacted; the client strips control sequences for a terminal."""

    text: str


class Done(msgspec.Struct, frozen=True, tag_field="kind", tag="done"):
    """The end of a successful command. data: the answer where it is one object; exit_code: of the command line.

    cut: what the answer leaves out of a list, None where it holds all of it.
    """

    data: Any = None
    exit_code: int = 0
    cut: Cut | None = None


class Failed(msgspec.Struct, frozen=True, tag_field="kind", tag="failed"):
    """The end of a failed command, with one line for the user: what, where, how to mend it."""

    code: str
    exit_code: int
    what: str
    where: str = ""
    mend: str = ""
    traceback: str = ""
