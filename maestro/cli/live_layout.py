"""Lines of a tree, laid out in columns: branch, mark and name, agent, time, cost, and what else there is to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from maestro.cli.escape import escaped
from maestro.cli.run_words import money, took

MARKS = {
    "completed": "✔", "failed": "✘", "timed_out": "✘", "cancelled": "✘", "skipped": "–", "running": "▶", "waiting": "·"
}  # fmt: skip
ASCII = {
    "completed": "+", "failed": "x", "timed_out": "x", "cancelled": "x", "skipped": "-", "running": ">", "waiting": "."
}  # fmt: skip
COLOURS = {"completed": "32", "failed": "31", "timed_out": "31", "cancelled": "31", "running": "34", "skipped": "2"}
NAME_PART = 0.4
AGENT_WIDTH_MAX = 16
WIDE = 60


class Look(NamedTuple):
    """How a terminal wants to be drawn on."""

    width: int
    height: int
    styled: bool = False
    ascii: bool = False


class Line(NamedTuple):
    """A line as it is laid out. depth: 0 for a step, 1 for an instance of it."""

    name: str
    status: str
    depth: int = 0
    agent: str = ""
    seconds: float | None = None
    cost: float = 0.0
    text: str = ""


def laid_out(lines: Sequence[Line], look: Look) -> list[str]:
    """The lines in columns: mark and name, agent, time, cost, text."""
    if not lines:
        return []
    width = look.width - 1
    marks = ASCII if look.ascii else MARKS
    branches = _branches(lines, look.ascii)
    names = [escaped(line.name) for line in lines]
    natural = max(cell_len(branch) + 2 + cell_len(name) for branch, name in zip(branches, names, strict=True))
    first = min(natural, max(8, int(width * NAME_PART)))
    agents = min(AGENT_WIDTH_MAX, max(cell_len(line.agent) for line in lines)) if width >= WIDE else 0
    costs = [money(line.cost) if line.cost else "" for line in lines]
    cost_width = max(map(len, costs)) if width >= WIDE else 0
    drawn = []
    for line, branch, name, cost in zip(lines, branches, names, costs, strict=True):
        mark = marks.get(line.status, " ")
        time = took(line.seconds) if line.seconds is not None else ""
        middle = _padded(cut(escaped(line.agent), agents), agents) + "  " if agents else ""
        middle += f"{time:>4}  "
        middle += f"{cost:>{cost_width}}  " if cost_width else ""
        text = cut(escaped(line.text), width - first - 2 - cell_len(middle))
        head = _padded(cut(f"{branch}{mark} {name}", first), first)
        colour = COLOURS.get(line.status, "")
        if look.styled:
            head = head.replace(mark, f"\x1b[{colour}m{mark}\x1b[0m", 1) if colour else head
            text = f"\x1b[2m{text}\x1b[0m" if text and line.status == "running" else text
        drawn.append(f"{head}  {middle}{text}".rstrip())
    return drawn


def _branches(lines: Sequence[Line], ascii: bool) -> list[str]:
    """The branches before the lines: of an instance those of its step, too."""
    fork, last, bar = ("|- ", "`- ", "|  ") if ascii else ("├─ ", "└─ ", "│  ")
    final_step = max((at for at, line in enumerate(lines) if line.depth == 0), default=-1)
    found = []
    for at, line in enumerate(lines):
        under = lines[at + 1].depth if at + 1 < len(lines) else 0
        if line.depth == 0:
            found.append(last if at == final_step else fork)
        else:
            found.append(("   " if at > final_step else bar) + (fork if under else last))
    return found


def cut(text: str, width: int) -> str:
    """The text in as many columns of a terminal, with `…` where some of it is missing."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 1 else set_cell_size(text, max(0, width))


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
