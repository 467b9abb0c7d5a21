"""The tools on workflows, snapshots and the log, for agents that people start."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from maestro.mcp.answers import Event, Events, RestorePreview, Snapshot, Workflow, WorkflowRun, Workflows, cut
from maestro.mcp.requests import Requests
from maestro.runtime.node.ids import made_key
from maestro.runtime.protocol import messages as p

DATA_CHARS_MAX = 4096
TEXT_CHARS_MAX = 1024

RunId = Annotated[str, Field(description="the id of a run, or of a workflow, whose newest run is meant")]


class RecordTools:
    """Run workflows, take snapshots, and read what happened."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def workflow_list(self) -> Workflows:
        """List the stored workflows."""
        rows = (await self._requests.ask(p.WorkflowList())).rows
        return Workflows(workflows=[Workflow.model_validate(row) for row in rows])

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
        return WorkflowRun.model_validate({**answer.data, "notes": answer.notes})

    async def workflow_status(self, id: RunId) -> WorkflowRun:
        """Show a run of a workflow with its steps."""
        return WorkflowRun.model_validate((await self._requests.ask(p.WorkflowStatus(id=id))).data)

    async def snapshot_take(
        self,
        workspaces: Annotated[
            list[str] | None, Field(description="ids of agents, or paths of workspaces; all without it")
        ] = None,
    ) -> Snapshot:
        """Take a snapshot: the position of the log with an archive of each workspace, to which a person can go back."""
        answer = await self._requests.ask(p.StateSnapshot(workspaces=workspaces or []))
        return Snapshot.model_validate({**answer.data, "notes": answer.notes})

    async def restore_preview(
        self,
        source: Annotated[str | None, Field(description="the id of a snapshot, or latest")] = None,
        at: Annotated[str | None, Field(description="instead: a position of the log, or a time")] = None,
    ) -> RestorePreview:
        """Show what a restore would change, file by file and task by task. It does nothing: a person restores."""
        if (source is None) == (at is None):
            self._requests.fail("give either source or at", mend="source: latest is the newest snapshot")
        data = (await self._requests.ask(p.RestorePreview(source=source, at=at))).data
        what = str(source) if at is None else f"--at {at}"
        return RestorePreview.model_validate({**data, "command": f"maestro state restore {what}"})

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
        events = [Event.model_validate({**row, "data": _shortened(row["data"])}) for row in rows]
        return Events(events=events, position=events[-1].seq if events else after)


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
