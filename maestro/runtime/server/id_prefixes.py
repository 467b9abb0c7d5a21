"""Ids by their beginning: enough where an agent, a task or a snapshot is read; never where something is done to it.

What reads takes the one id that begins as given, and names the candidates where several do. What acts on a subject, as
`task cancel` or `agent stop`, is given a whole id; where there is none of that name, it says which one begins so.
"""

from __future__ import annotations

from itertools import pairwise, takewhile

from maestro.model.errors import Invalid, NotFound
from maestro.model.ids import is_id, shown
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.node.read_context import ReadContext
from projections import snapshots, tasks, workflow_runs

TASK_CHARS_MIN = 4
AGENT_CHARS_MIN = 2
NAMED_MAX = 5
FOUND_MAX = 1000
PREFIXED = ("task", "agent", "snapshot", "workflow-run")
"""The kinds of subjects that may be named by the beginning of their id."""


async def task_meant(context: ReadContext, text: str) -> str:
    """The id of the task that is read: as given, or the one that begins so. Raises Invalid where several do."""
    found = await tasks_beginning(context, text)
    return text if not found else _one(found, text, "tasks", await _about(context, found))


async def agent_meant(context: ReadContext, text: str) -> str:
    """The id of the agent that is read, as `task_meant`; a pool (`role:x`) is left as it is."""
    found = await agents_beginning(context, text)
    return text if not found else _one(found, text, "agents")


async def snapshot_meant(context: ReadContext, text: str) -> str:
    """The id of the snapshot that is read, as `task_meant`; `latest` and paths are left as they are."""
    found = await snapshots_beginning(context, text)
    return text if not found else _one(found, text, "snapshots", {})


async def run_meant(context: ReadContext, text: str) -> str:
    """The id of the workflow's run that is read, as `task_meant`."""
    found = await runs_beginning(context, text)
    return text if not found else _one(found, text, "runs", await _about_runs(context, found))


async def subject_meant(context: ReadContext, text: str) -> str:
    """The subject of an audit: a task, an agent, a snapshot or a workflow's run that begins so, by itself or as
    `task:…`.
    """
    kind, _, name = text.rpartition(":")
    if kind not in ("", *PREFIXED):
        return text
    found = []
    beginnings = (tasks_beginning, agents_beginning, snapshots_beginning, runs_beginning)
    for known, beginning in zip(PREFIXED, beginnings, strict=True):
        if kind in ("", known):
            found += [f"{known}:{each}" for each in await beginning(context, name)]
    return text if not found else _one(found, text, "subjects")


async def check_whole_task(context: ReadContext, text: str, command: str) -> None:
    """Check that what acts on a task is not given the beginning of an id. command: as the user would repeat it.

    Raises NotFound, with the whole id.
    """
    if found := await tasks_beginning(context, text):
        raise _not_whole("task", text, found, command, await _about(context, found))


async def check_whole_agent(context: ReadContext, text: str, command: str, rest: str = "") -> None:
    """As `check_whole_task`, for an agent. rest: what the user wrote behind it."""
    if found := await agents_beginning(context, text):
        raise _not_whole("agent", text, found, command, {}, rest)


async def check_whole_snapshot(context: ReadContext, text: str, command: str) -> None:
    """As `check_whole_task`, for a snapshot."""
    if found := await snapshots_beginning(context, text):
        raise _not_whole("snapshot", text, found, command, {})


async def check_whole_run(context: ReadContext, text: str, command: str, rest: str = "") -> None:
    """As `check_whole_task`, for the run of a workflow. rest: what the user wrote behind it."""
    if found := await runs_beginning(context, text):
        raise _not_whole("run", text, found, command, await _about_runs(context, found), rest)


async def tasks_beginning(context: ReadContext, text: str) -> list[str]:
    """The ids of tasks that begin so; [] for what is an id itself, or no beginning of one."""
    if len(text) < TASK_CHARS_MIN or not is_id(text):
        return []
    known = context.daemon.follower.known(text) if context.daemon else None
    if known is not None or await context.row(context.views.task, text) is not None:
        return []
    return await context.rows(context.views.beginning, tasks.NAME, text.upper(), FOUND_MAX)


async def agents_beginning(context: ReadContext, text: str) -> list[str]:
    """As `tasks_beginning`, for agents."""
    if len(text) < AGENT_CHARS_MIN or not is_id(text) or await context.row(context.views.agent, text) is not None:
        return []
    return sorted(row.id for row in await context.agents() if row.id.startswith(text))


async def snapshots_beginning(context: ReadContext, text: str) -> list[str]:
    """As `tasks_beginning`, for snapshots."""
    if len(text) < TASK_CHARS_MIN or not is_id(text) or text == "latest":
        return []
    if await context.row(context.views.snapshot, text) is not None:
        return []
    return await context.rows(context.views.beginning, snapshots.NAME, text, FOUND_MAX)


async def runs_beginning(context: ReadContext, text: str) -> list[str]:
    """As `tasks_beginning`, for runs of workflows."""
    if len(text) < TASK_CHARS_MIN or not is_id(text) or await context.row(context.views.workflow_run, text) is not None:
        return []
    return await context.rows(context.views.beginning, workflow_runs.NAME, text.upper(), FOUND_MAX)


async def _about_runs(context: ReadContext, found: list[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    for run in found[-NAMED_MAX:]:
        row: RunHeader | None = await context.row(context.views.workflow_run, run)
        told |= {run: f"{row.status}: {row.workflow}"} if row is not None else {}
    return told


async def _about(context: ReadContext, found: list[str]) -> dict[str, str]:
    """What those of the tasks are that are named, by id."""
    rows = await context.rows(context.views.tasks_named, found[-NAMED_MAX:])
    return {row.id: f"{row.status}: {row.title}" for row in rows}


def _one(found: list[str], text: str, kind: str, about: dict[str, str] | None = None) -> str:
    """The only one of the ids. about: what they are; None where they do not begin with a time. Raises Invalid."""
    if len(found) == 1:
        return found[0]
    names = sorted(each.rpartition(":")[2] for each in found)
    enough = 1 + max(_common(one, other) for one, other in pairwise(names))
    why = "" if about is None else ", as ids begin with a time"
    mend = f"give more of it: {enough} characters tell these apart{why}"
    count = f"{len(found)}{' or more' if len(found) >= FOUND_MAX else ''}"
    raise Invalid(f"{shown(text)} begins the ids of {count} {kind}: {_listed(found, about)}", mend=mend)


def _common(one: str, other: str) -> int:
    """How many characters two names have in common at their beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _listed(found: list[str], about: dict[str, str] | None = None) -> str:
    """The candidates, those with the greatest ids first: of ids that begin with a time the newest."""
    named = found[: -NAMED_MAX - 1 : -1]
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return ", ".join(f"{each} ({about[each]})" if about and each in about else each for each in named) + more


def _not_whole(kind: str, text: str, found: list[str], command: str, about: dict[str, str], rest: str = "") -> NotFound:
    what = f"there is no {kind} {shown(text)}"
    if len(found) > 1:
        return NotFound(what, mend=f"{command} takes a whole id, and several begin so: {_listed(found, about)}")
    return NotFound(
        what, mend=f"{_listed(found, about)} begins so: maestro {command} {' '.join(filter(None, (found[0], rest)))}"
    )
