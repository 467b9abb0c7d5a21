"""The tools on workflows, snapshots and the log, for agents that people start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from pydantic import Field

from maestro.mcp.answers import (
    ANSWER_CHARS_MAX,
    ITEMS_MAX,
    Event,
    Events,
    RestorePreview,
    Snapshot,
    Workflow,
    WorkflowRun,
    Workflows,
    bounded,
    cut,
    further,
    within,
)
from maestro.mcp.requests import Requests
from maestro.mcp.tool_server import Failure, ToolFailure
from maestro.model.errors import Invalid
from maestro.runtime.node.ids import made_key
from maestro.runtime.protocol import messages as p

DATA_CHARS_MAX = 4096
TEXT_CHARS_MAX = 1024

RunId = Annotated[str, Field(description="the id of a run, or of a workflow, whose newest run is meant")]


class RecordTools:
    """Run workflows, take snapshots, and read what happened."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def workflow_list(
        self,
        after: Annotated[str, Field(description="only those whose ids are behind this one")] = "",
        limit: Annotated[int, Field(ge=1, le=1000)] = 100,
    ) -> Workflows:
        """List the stored workflows, by id."""
        rows = [row for row in (await self._requests.ask(p.WorkflowList())).rows if row["id"] > after]
        rows.sort(key=lambda row: str(row["id"]))
        kept = within([Workflow.model_validate(row) for row in rows], limit)
        way = f"call again with after={kept[-1].id!r}" if kept else ""
        return Workflows(workflows=kept, further=further(len(rows) - len(kept), "workflows", way))

    async def workflow_run(
        self,
        workflow: Annotated[str, Field(description="the id of a stored workflow")],
        params: Annotated[dict[str, str] | None, Field(description="values of its vars, by name")] = None,
        key: Annotated[str | None, Field(description="the same key never starts a second run")] = None,
    ) -> WorkflowRun:
        """Start a run of a stored workflow, and return at once; workflow_status tells how it goes on.

        What a step asks people, a person answers with `maestro workflow approve`: no tool does.
        """
        command = p.WorkflowStart(workflow=workflow, params=params or {}, key=key or made_key(), first=not key)
        answer = await self._requests.ask(command)
        return _run(answer.data, notes=answer.notes)

    async def workflow_status(
        self,
        id: RunId,
        offset: Annotated[int, Field(description="how many of its steps to pass over", ge=0)] = 0,
        limit: Annotated[int, Field(ge=1, le=1000)] = 100,
    ) -> WorkflowRun:
        """Show a run of a workflow with its steps."""
        return _run((await self._requests.ask(p.WorkflowStatus(id=id))).data, offset, limit)

    async def snapshot_take(
        self,
        workspaces: Annotated[
            list[str] | None, Field(description="ids of agents, or paths of workspaces; all without it")
        ] = None,
    ) -> Snapshot:
        """Take a snapshot: the position of the log with an archive of each workspace, to which a person can go back."""
        answer = await self._requests.ask(p.StateSnapshot(workspaces=workspaces or []))
        return Snapshot.model_validate({**bounded(answer.data), "notes": answer.notes})

    async def restore_preview(
        self,
        source: Annotated[str | None, Field(description="the id of a snapshot, or latest")] = None,
        at: Annotated[str | None, Field(description="instead: a position of the log, or a time")] = None,
    ) -> RestorePreview:
        """Show what a restore would change, file by file and task by task. It does nothing: a person restores."""
        if (source is None) == (at is None):
            self._requests.fail("give either source or at", mend="source: latest is the newest snapshot")
        data = (await self._requests.ask(p.RestorePreview(source=source, at=at))).data
        command = f"maestro state restore {source if at is None else f'--at {at}'}"
        short = _preview(data)
        told = f"lists or texts are cut; a person sees all by {command} --dry-run" if short != data else ""
        return RestorePreview.model_validate({**short, "command": command, "further": told})

    async def events_since(
        self,
        after: Annotated[int, Field(description="a position of the log: events behind it; 0 for all", ge=0)],
        limit: Annotated[int, Field(ge=1, le=500)] = 50,
        types: Annotated[
            list[str] | None, Field(description="only of these types or families, such as task.finished or run")
        ] = None,
    ) -> Events:
        """Read what happened behind a position of the log, oldest first. Long texts in it are shortened."""
        command = p.EventsTail(from_position=after + 1, limit=limit, types=tuple(types or ()))
        rows = (await self._requests.ask(command)).rows
        if not rows and after:
            head = next((row["seq"] for row in (await self._requests.ask(p.EventsTail(limit=1))).rows), after)
            if after > head:
                raise _beyond(after, head)
        events = within([Event.model_validate({**row, "data": _shortened(row["data"])}) for row in rows], limit)
        position = events[-1].seq if events else after
        told = (
            f"there may be more: call again with after={position}"
            if rows and (len(rows) >= limit or len(events) < len(rows))
            else ""
        )
        return Events(events=events, position=position, further=told)


def _beyond(after: int, head: int) -> ToolFailure:
    what, mend = f"the log ends at position {head}", f"after={head} is the newest that there is"
    return ToolFailure(
        f"after={after}: {what}; {mend}", Failure(what=what, where="after", mend=mend, code=Invalid.code)
    )


def _run(row: dict[str, Any], offset: int = 0, limit: int = ITEMS_MAX, notes: Sequence[str] = ()) -> WorkflowRun:
    """A run of a workflow with so many of its steps."""
    run = WorkflowRun.model_validate({**row, "waiting_for": bounded(row.get("waiting_for")), "notes": notes})
    steps = run.steps[offset:]
    run.steps = within(steps, limit)
    at = offset + len(run.steps)
    run.further = further(len(steps) - len(run.steps), "steps", f"workflow_status with offset={at}")
    return run


def _preview(data: dict[str, Any]) -> dict[str, Any]:
    """What a restore would change, its lists the shorter the more there is to it."""
    items = ITEMS_MAX
    while len(msgspec.json.encode(short := bounded(data, items))) > ANSWER_CHARS_MAX and items > 1:
        items //= 2
    return dict(short)


def _shortened(data: dict[str, Any]) -> dict[str, Any]:
    """The data of an event, with its long texts cut; only their names where that is too much still."""
    short: dict[str, Any] = _cut(data)
    if len(msgspec.json.encode(short)) <= DATA_CHARS_MAX:
        return short
    plain = {name: value for name, value in short.items() if not isinstance(value, (dict, list))}
    left = sorted(short.keys() - plain.keys())
    return {**plain, "left_out": left}


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return cut(value, TEXT_CHARS_MAX)
    if isinstance(value, dict):
        return {name: _cut(each) for name, each in value.items()}
    return [_cut(each) for each in value] if isinstance(value, list) else value
