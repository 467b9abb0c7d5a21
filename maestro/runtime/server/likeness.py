"""Names like one that was not found: "did you mean …?", added to the error where it leaves, whoever raised it."""

from __future__ import annotations

from contextlib import suppress

from maestro.model.errors import MaestroError, NotFound
from maestro.model.ids import nearest
from maestro.model.target import targets_of
from maestro.runtime.node.failures import user_error
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.protocol import messages as p

TASKS_MAX = 1000
"""So many of the newest tasks are compared."""
OF_TIME = 0.85
"""How much an id that begins with a time must be like another: all of one day begin alike."""
ASKED = "did you mean "


async def propose(context: ReadContext, error: Exception, command: p.Command) -> None:
    """Put names that are like the one that was not found into the error's remedy, where there are some."""
    known = user_error(error)
    if not isinstance(known, NotFound) or known.sought is None:
        return
    kind, name = known.sought
    if kind == "type" and isinstance(command, (p.TaskDispatch, p.TaskBatch)):
        kind = "target"  # a target that is no agent is looked for among the types
    with suppress(MaestroError):  # the store has gone: the error says enough without
        near = await _near(context, kind, name)
        if near:
            asked = f"{ASKED}{' or '.join(repr(each) for each in near)}?"
            known.mend = f"{asked} {known.mend}" if known.mend and not known.mend.startswith(ASKED) else asked


async def _near(context: ReadContext, kind: str, name: str) -> list[str]:
    views = context.views
    if kind == "subject":
        prefix, colon, rest = name.rpartition(":")
        kinds = [prefix] if colon else ["agent", "task", "node", "key", "workflow"]
        found = [each for one in kinds for each in await _near(context, one, rest)]
        return [f"{prefix}{colon}{each}" for each in found]
    match kind:
        case "agent":
            return nearest(name, [row.id for row in await context.agents()])
        case "target":
            return nearest(name, {each for row in await context.agents() for each in targets_of(row)})
        case "task":
            return nearest(name, [row.id for row in await context.rows(views.tasks, limit=TASKS_MAX)], OF_TIME)
        case "workflow-run":
            return nearest(name, [row.id for row in await context.rows(views.workflow_runs, limit=TASKS_MAX)], OF_TIME)
        case "key" | "state":
            rows = await context.rows(views.state_list, "", await context.now())
            return nearest(name, [row.key for row in rows])
        case "node":
            return nearest(name, [row.id for row in await context.rows(views.nodes)])
        case "workflow":
            return nearest(name, [row.id for row in await context.rows(views.workflows)])
        case "alert":
            alerts = [*await context.rows(views.alerts), *await context.rows(views.alerts, "resolved", TASKS_MAX)]
            return nearest(name, [row.id for row in alerts])
        case "schedule":
            of = [(row.id, row.newest.schedules) for row in await context.rows(views.workflows)]
            own = [f"{workflow}#{number}" for workflow, count in of for number in range(count)]
            return nearest(name, [*(row.name for row in await context.rows(views.schedules)), *own])
        case "snapshot":
            ids = [row.id for row in await context.rows(views.snapshots)]
            return nearest(name, ["latest"]) or nearest(name, ids, OF_TIME)
    return []
