"""The tools on tasks and agents, for agents that people start; and those of them that a run that delegates has."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from pydantic import Field

from maestro.mcp.answers import (
    ANSWER_CHARS_MAX,
    GLANCE_CHARS_MAX,
    RESULT_CHARS_MAX,
    RUNS_MAX,
    Agent,
    Agents,
    Output,
    Task,
    Tasks,
    Waited,
    further,
    within,
)
from maestro.mcp.requests import OUTPUT_CHARS_MAX, Requests
from maestro.runtime.node.ids import made_key
from maestro.runtime.protocol import messages as p

SLICE_S = 5.0
"""So long one request for the end of tasks waits; a call that is cancelled leaves its thread after that."""
WAIT_S = 45.0
"""How long a wait takes without being told: most clients give up a call after a minute."""
WAIT_S_MAX = 600.0
LINES_MAX = 2000

TaskId = Annotated[str, Field(description="the id of a task")]
Prompt = Annotated[str, Field(description="what the agent should do")]
DispatchKey = Annotated[
    str | None, Field(description="the same key never dispatches twice: a call that failed can be repeated with it")
]
Timeout = Annotated[float | None, Field(description="seconds after which a run is ended", gt=0)]
Tokens = Annotated[int | None, Field(description="tokens that its runs may use together", gt=0)]
WaitSeconds = Annotated[float, Field(description="how long to wait at most", ge=0, le=WAIT_S_MAX)]
TaskIds = Annotated[list[str], Field(description="the ids of the tasks", min_length=1, max_length=100)]


class TaskTools:
    """Dispatch tasks, wait for them, and see what becomes of them."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def task_dispatch(
        self,
        prompt: Prompt,
        to: Annotated[
            list[str],
            Field(description="targets: ids of agents, type:<slug>, role:<role> or capability:<name>", min_length=1),
        ],
        key: DispatchKey = None,
        priority: Annotated[int | None, Field(description="1 is the most urgent", ge=1, le=5)] = None,
        depends_on: Annotated[list[str] | None, Field(description="tasks that must have completed before")] = None,
        timeout_s: Timeout = None,
        budget_tokens: Tokens = None,
    ) -> Task:
        """Queue a task for agents, and return at once; task_wait waits for its end. agent_list tells who there is."""
        return await self._dispatch(
            p.TaskDispatch(
                prompt=prompt,
                to=to,
                key=key or made_key(),
                first=not key,
                priority=priority,
                depends_on=depends_on or [],
                timeout_s=timeout_s,
                budget_tokens=budget_tokens,
            )
        )

    async def _dispatch(self, command: p.TaskDispatch) -> Task:
        answer = await self._requests.ask(command)
        return Task.of(answer.data, answer.notes)

    async def task_status(self, id: TaskId) -> Task:
        """Show a task: whether it has ended and how, what its agents said last, or why it does not go on."""
        return Task.of((await self._requests.ask(p.TaskStatus(id=id))).data)

    async def task_wait(self, ids: TaskIds, context: Context[Any, Any], timeout_s: WaitSeconds = WAIT_S) -> Waited:
        """Wait until tasks have ended. Where they take longer, it answers how they stand: call it again."""
        began_at = time.monotonic()
        while True:
            left = timeout_s - (time.monotonic() - began_at)
            answer = await self._requests.ask(p.TaskWait(ids=ids, timeout_s=max(0.0, min(SLICE_S, left))), waits=True)
            if not answer.timed_out:
                return Waited(finished=True, tasks=_all_of(answer.rows))
            if left <= SLICE_S:
                rows = [(await self._requests.ask(p.TaskStatus(id=id))).data for id in ids]
                return Waited(finished=False, tasks=_all_of(rows))
            await context.report_progress(time.monotonic() - began_at, timeout_s, "the tasks go on")

    async def task_cancel(
        self, id: TaskId, reason: Annotated[str, Field(description="why, for the record")] = ""
    ) -> Task:
        """Cancel a task: what runs is ended, with all its processes."""
        return Task.of((await self._requests.ask(p.TaskCancel(id=id, reason=reason))).data)

    async def task_list(
        self,
        status: Annotated[
            Literal["queued", "running", "completed", "failed", "cancelled", "timed_out", "skipped"] | None,
            Field(description="only in this status"),
        ] = None,
        agent: Annotated[str | None, Field(description="only of this agent")] = None,
        limit: Annotated[int, Field(ge=1, le=200)] = 20,
    ) -> Tasks:
        """List tasks, newest first, with the beginning of each result."""
        rows = (await self._requests.ask(p.TaskList(status=status, agent=agent, limit=limit + 1))).rows
        tasks = within([Task.of(row, chars=GLANCE_CHARS_MAX) for row in rows], limit)
        way = "narrow it by status or agent, or raise limit; task_status shows one"
        return Tasks(tasks=tasks, further=f"older ones are not shown: {way}" if len(rows) > len(tasks) else "")

    async def task_logs(
        self,
        id: TaskId,
        lines: Annotated[int, Field(description="how many of the last lines", ge=1, le=LINES_MAX)] = 100,
        agent: Annotated[str | None, Field(description="only of this agent")] = None,
    ) -> Output:
        """The last lines that the agents of a task have printed, at most 64 KiB."""
        text = (await self._requests.ask(p.TaskLogs(id=id, agent=agent))).output
        kept = "".join(text.splitlines(keepends=True)[-lines:])
        return Output(text=kept, cut=len(kept) < len(text) or len(text) == OUTPUT_CHARS_MAX)

    async def agent_list(
        self,
        status: Annotated[
            Literal["all", "active", "idle", "failed", "stopped"], Field(description="only in this state")
        ] = "all",
        after: Annotated[str, Field(description="only those whose ids are behind this one")] = "",
        limit: Annotated[int, Field(ge=1, le=1000)] = 100,
    ) -> Agents:
        """List agents, by id: who there is to dispatch to, who is busy, and who is not healthy and why."""
        rows = [row for row in (await self._requests.ask(p.AgentList(status=status))).rows if row["id"] > after]
        rows.sort(key=lambda row: str(row["id"]))
        agents = within([Agent.model_validate(row) for row in rows], limit)
        way = f"call again with after={agents[-1].id!r}, or give status" if agents else ""
        return Agents(agents=agents, further=further(len(rows) - len(agents), "agents", way))


def _all_of(rows: list[dict[str, Any]]) -> list[Task]:
    """All of some tasks: the more there are, the less of each result, which says so."""
    runs = sum(min(len(row["runs"]), RUNS_MAX) for row in rows)
    chars = max(GLANCE_CHARS_MAX, min(RESULT_CHARS_MAX, ANSWER_CHARS_MAX // max(1, runs)))
    return [Task.of(row, chars=chars) for row in rows]


class DelegatedTasks(TaskTools):
    """The tools of a run that may delegate: on the tasks that it dispatches itself."""

    async def delegate(
        self,
        prompt: Prompt,
        to: Annotated[str, Field(description="whom: one of the targets that this tool's description names")],
        key: DispatchKey = None,
        timeout_s: Timeout = None,
        budget_tokens: Tokens = None,
    ) -> Task:
        """Queue a task for another agent."""
        return await self._dispatch(
            p.TaskDispatch(
                prompt=prompt,
                to=[to],
                key=key or made_key(),
                first=not key,
                timeout_s=timeout_s,
                budget_tokens=budget_tokens,
            )
        )
