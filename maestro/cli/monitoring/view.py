"""What the screen shows and where a person is in it: the last look, the filter, the chosen agent, an open log. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maestro.cli.monitoring.layout import window
from maestro.cli.run_words import seconds_of

Row = Mapping[str, Any]

FILTERS = {"a": "active", "f": "failed", "i": "idle", "s": "stopped"}
ROWS_MIN = 60
"""So many agents are asked for at least; more where a person moves on."""


def state_of(row: Row) -> str:
    """As what an agent is shown and counted: one that works and is unhealthy has failed."""
    return str(row.get("counts_as") or row["state"])


class Log:
    """The output of an agent's current or last run. above: how many lines are below those that are shown; 0 follows."""

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.lines: list[str] = []
        self.problem = ""
        self.above = 0
        self.known = False

    def take(self, text: str, problem: str) -> None:
        """Take over the end of the output. What a person looks at, further up, stays where it is."""
        lines = [line.expandtabs(4) for line in text.split("\n")]
        if lines and not lines[-1]:
            lines.pop()
        if self.above and self.lines:
            self.above += _new(self.lines, lines)
        self.lines, self.problem, self.known = lines, problem, True
        self.above = min(self.above, max(0, len(lines) - 1))

    def move(self, by: int, room: int) -> None:
        """Show what is above or below."""
        self.above = max(0, min(self.above + by, len(self.lines) - room))

    def shown(self, room: int) -> list[str]:
        """As many lines as there is room for."""
        end = len(self.lines) - self.above
        return self.lines[max(0, end - room) : end]


def _new(before: Sequence[str], after: Sequence[str]) -> int:
    """How many lines have come since, as far as the last known ones can be found again."""
    known = before[-3:]
    for new in range(len(after) - len(known) + 1):
        end = len(after) - new
        if list(after[end - len(known) : end]) == list(known):
            return new
    return 0


class View:
    """The state of the screen. look: None before the first; looked: when that came, on the clock of `now`.

    problem: why no newer look comes, or ""; only: the state of agents that is shown, "" for all; chosen: an agent.
    has_keys: somebody can press some.
    """

    def __init__(self) -> None:
        self.look: Row | None = None
        self.looked = 0.0
        self.problem = ""
        self.only = ""
        self.chosen = ""
        self.first = 0
        self._rows: Sequence[Row] = ()
        self._rows_only = ""
        self._all: Sequence[Row] = ()
        self.log: Log | None = None
        self.help = False
        self.has_keys = True
        self.room = 10
        """How many agents the screen has room for, as it was drawn last."""

    def take(self, look: Row, looked: float, only: str = "") -> None:
        """Take over a look, unless a newer one is there. only: the state of the agents in it, "" for all."""
        if self.look is not None and str(look.get("at")) < str(self.look.get("at")):
            return
        self.look, self.looked, self.problem = look, looked, ""
        self._rows, self._rows_only = look.get("agents") or (), only
        if not only:
            self._all = self._rows
        self._keep_chosen()

    def agents(self) -> list[Row]:
        """The agents that the filter lets through."""
        rows = self._rows if self._rows_only in ("", self.only) else self._all
        return [row for row in rows if self.only in ("", state_of(row))]

    @property
    def rows(self) -> int:
        """How many agents to ask for."""
        return min(1000, max(ROWS_MIN, self.index() + 3 * self.room))

    def server_time(self, now: float) -> float:
        """The time of the store's server, in seconds since the epoch. now: on the clock of `looked`."""
        return seconds_of(self.look["at"]) + max(0.0, now - self.looked) if self.look else 0.0

    def index(self) -> int:
        """Which of the agents is chosen; the first where that one is not there any more."""
        return next((at for at, row in enumerate(self.agents()) if row["id"] == self.chosen), 0)

    def move(self, by: int) -> None:
        """Choose another agent."""
        rows = self.agents()
        if rows:
            self.chosen = rows[max(0, min(len(rows) - 1, self.index() + by))]["id"]

    def filter(self, state: str) -> None:
        """Show agents of this state only, or all where that was so."""
        self.only = "" if self.only == state else state
        self.first = 0
        self._keep_chosen()

    def window(self, room: int) -> list[tuple[int, Row]]:
        """The agents that there is room for, the chosen one among them, with their places in the list."""
        rows = self.agents()
        self.room = max(1, room)
        self.first = window(len(rows), self.index(), self.first, room)
        return list(enumerate(rows))[self.first : self.first + room]

    def open(self, place: int | None = None) -> None:
        """Open the log of the chosen agent, or of that at a place on the screen."""
        rows = self.agents()
        at = self.index() if place is None else self.first + place
        if at < len(rows):
            self.chosen = rows[at]["id"]
            self.log = Log(self.chosen)

    def _keep_chosen(self) -> None:
        rows = self.agents()
        if rows and not any(row["id"] == self.chosen for row in rows):
            self.chosen = rows[min(self.first, len(rows) - 1)]["id"]


def pressed(view: View, key: str) -> str:
    """Change the view as a key asks for; `quit`, `ask` (for a look at once), `redraw` or "" is left to the caller."""
    if key == "redraw":
        return key
    if view.help:
        view.help = False
        return "quit" if key == "Q" else ""
    if key == "?" or key == "h":
        view.help = True
    elif view.log is not None:
        return _in_log(view, view.log, key)
    else:
        return _in_list(view, key)
    return ""


_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1, "home": -(10**9), "g": -(10**9), "end": 10**9, "G": 10**9}


def _in_list(view: View, key: str) -> str:
    if key in ("q", "Q"):
        return "quit"
    if key in FILTERS:
        view.filter(FILTERS[key])
        return "ask"
    if key in ("escape", "0") and view.only:
        view.filter(view.only)
        return "ask"
    if key in _MOVES:
        view.move(_MOVES[key])
    elif key in ("page up", "page down"):
        view.move(view.room if key == "page down" else -view.room)
    elif key in ("enter", "tab", "right", "l"):
        view.open()
        return "ask"
    elif len(key) == 1 and key in "123456789":
        view.open(int(key) - 1)
        return "ask"
    return ""


def _in_log(view: View, log: Log, key: str) -> str:
    if key == "Q":
        return "quit"
    if key in ("q", "escape", "left", "back", "enter"):
        view.log = None
        return ""
    if key in ("tab", "back tab", "n", "p"):
        view.move(1 if key in ("tab", "n") else -1)
        view.open()
        return "ask"
    if key in _MOVES:
        log.move(-_MOVES[key], view.room)
    elif key in ("page up", "page down"):
        log.move(view.room if key == "page up" else -view.room, view.room)
    return ""
