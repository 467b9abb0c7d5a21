"""The lists of the board: which command tells each, which filters it takes, and a part of its rows at a position."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from maestro.board.rows.past_context import PastContext, answered
from maestro.board.rows.past_views import Window
from maestro.board.rows.values import STATE, cut_values
from maestro.board.rows.view_pages import Search
from maestro.model.errors import Invalid
from maestro.model.ids import shown
from maestro.model.task import Task
from maestro.runtime.handlers.monitoring.look import usage_row
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.run_rows import index_of
from projections import snapshots, tasks, workflow_runs
from projections.monitoring import alerts

LIMIT_MAX: Final = 1_000
REACH: Final = (2_000, 10_000, 100_000)
"""The commands list from the first row on: so many are read at once, for all pages up to there."""
YES: Final = ("1", "true", "yes")

Row = dict[str, Any]
Filters = Mapping[str, str]


class Asked(NamedTuple):
    """What is asked of a list: the rows behind the first `offset`, `limit` at most, that the filters let through."""

    name: str
    filters: tuple[tuple[str, str], ...] = ()
    limit: int = 200
    offset: int = 0


class Part(NamedTuple):
    """Rows of a list from the first one on, or from the window's. more: whether there are others behind them.

    total: how many there are in all, None where that was not counted. beside: what is told besides the rows.
    """

    rows: list[Row]
    more: bool = False
    total: int | None = None
    beside: Row | None = None


class List(NamedTuple):
    """A list. filters: their names. command: what tells it, with so many rows; None for one with a way of its own.

    view: whose pages are read no further than is asked for, "" where all is read.
    """

    filters: tuple[str, ...]
    command: Callable[[Filters, int], p.Command]
    view: str = ""


LISTS: Final = {
    "agents": List(("status",), lambda of, _: p.AgentList(status=of.get("status", "all"))),
    "tasks": List(
        ("status", "agent", "q", "steps"),
        lambda of, limit: p.TaskList(
            agent=of.get("agent"), status=of.get("status"), limit=limit, all=_yes(of, "steps")
        ),
        tasks.NAME,
    ),
    "queue": List(
        ("which", "agent"),
        lambda of, limit: p.QueueStatus(agent=of.get("agent"), which=of.get("which", "open"), limit=limit),
        "queue",
    ),
    "workflows": List((), lambda _of, _: p.WorkflowList()),
    "workflow-runs": List(
        ("workflow", "status", "open", "waiting"),
        lambda of, limit: p.WorkflowRuns(
            workflow=of.get("workflow"),
            status=of.get("status"),
            open=_yes(of, "open"),
            waiting=_yes(of, "waiting"),
            limit=limit,
        ),
        workflow_runs.NAME,
    ),
    "state": List(("prefix",), lambda of, _: p.StateList(prefix=of.get("prefix", "")), STATE),
    "alerts": List(("all",), lambda of, limit: p.AlertList(all=_yes(of, "all"), limit=limit), alerts.NAME),
    "nodes": List((), lambda _of, _: p.NodeList()),
    "usage": List((), lambda _of, _: p.AgentList(status="all")),
    "snapshots": List(("all",), lambda of, limit: p.StateSnapshots(all=_yes(of, "all"), limit=limit), snapshots.NAME),
    "schedules": List((), lambda _of, _: p.ScheduleList()),
}


def _yes(filters: Filters, name: str) -> bool:
    return filters.get(name, "") in YES


def check(asked: Asked) -> None:
    """Check that a list takes these filters. Raises Invalid."""
    known = LISTS[asked.name].filters
    for name, _ in asked.filters:
        if name not in known:
            mend = f"it takes {', '.join((*known, 'at', 'limit', 'offset'))}"
            raise Invalid(f"the list {asked.name} has no filter {shown(name)}", name, mend)
    if ("which", "completed") in asked.filters:
        raise Invalid("what has ended is in no queue", "which", "ask for the list tasks with its status")


def reach(asked: Asked) -> int:
    """Up to which row a list is read for what is asked; 0 where only the part itself is, or always all of it."""
    if not LISTS[asked.name].view or asked.name in ("tasks", "state"):
        return 0
    end = asked.offset + asked.limit
    return end if not asked.offset else next((rows for rows in REACH if rows >= end), REACH[-1])


def read(context: PastContext, asked: Asked) -> Part:
    """The rows of a list up to its `reach`, or those that are asked for. Raises what its command raises."""
    of, known = dict(asked.filters), LISTS[asked.name]
    upto = reach(asked)
    if asked.name in ("tasks", "state"):
        context.views.window = Window(asked.offset, asked.limit, _searched(of.get("q", "")), _yes(of, "steps"))
    rows, done = answered(context, known.command(of, upto or asked.limit))
    if asked.name == "usage":
        return _usage(context, rows)
    if asked.name == "state":
        is_cut = len(rows) > asked.limit
        return Part(cut_values(rows[: asked.limit]), is_cut, None if is_cut else _ended(asked, rows))
    if done.cut is None:
        return Part(rows, False, _ended(asked, rows) if asked.name == "tasks" else len(rows))
    index = index_of(of.get("workflow"), "open" if _yes(of, "open") else of.get("status"))
    unknown = context.views.uncounted
    if (workflow_runs.NAME, index) in unknown and not _yes(of, "waiting"):
        return Part(rows, True, None)
    return Part(rows, True, None if tasks.NAME in {view for view, _ in unknown} else done.cut.total)


def _ended(asked: Asked, rows: list[Row]) -> int | None:
    """How many rows a list has whose end was seen; None behind its end."""
    return asked.offset + len(rows) if rows or not asked.offset else None


def _searched(text: str) -> Search | None:
    """The search for a part of a task's title or id; ASCII letters may be of either case."""
    if not text:
        return None
    if not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:  # JSON has these in other words
        wanted = text.casefold()
        return Search(lambda row: wanted in row.title.casefold() or wanted in row.id.casefold())
    sought = text.lower().encode()

    def fits(row: Task) -> bool:
        return any(sought in told.encode("utf-8", "surrogatepass").lower() for told in (row.title, row.id))

    return Search(fits, lambda data: sought in data.lower())


def _usage(context: PastContext, agents: list[Row]) -> Part:
    """What was used in all, and by each agent, most first."""
    totals = context.views.totals().row
    now = context.store.now()
    rows = [
        {"agent": row["id"], "type": row["type"], "runs": row["runs"], **row["usage"]}
        for row in agents
        if row["runs"] or any(row["usage"].values())
    ]
    rows.sort(key=lambda row: (-row["cost"], -row["input_tokens"] - row["output_tokens"], row["agent"]))
    return Part(rows, False, len(rows), {"usage": None if totals is None else usage_row(totals, now)})
