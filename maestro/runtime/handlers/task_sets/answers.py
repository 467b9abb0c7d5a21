"""The handlers of what agents ask leave for: `run ask` of a run, which waits, and `task answer` of who decides."""

from __future__ import annotations

import trio

from maestro.model.errors import Refused
from maestro.model.events import NewEvent
from maestro.model.facts.permission import PermissionOption, TaskPermissionAsked
from maestro.model.ids import shown, task_of_run
from maestro.model.permissions.requests import decide_answer, decide_ask, decide_lapse, known
from maestro.runtime.handlers.task_list import find
from maestro.runtime.handlers.task_sets.reasons import told
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.id_prefixes import check_whole_task

TITLE_CHARS = 500
OPTIONS_MAX = 16
LAPSED = "nobody answered in time"


async def ask(call: Call, command: p.RunAsk) -> p.Done:
    """Record what an agent asks for, and answer once somebody has decided: the id of an option, "" for none.

    Raises Refused where this is no process of a run that is on.
    """
    context, run = call.context, call.caller.actor.removeprefix("run:")
    task = task_of_run(run) if call.caller.actor.startswith("run:") else ""
    if not task or context.daemon is None:
        raise Refused("only a run asks for permissions", mend="run this from inside an agent")
    options = tuple(PermissionOption(*(text[:TITLE_CHARS] for text in one)) for one in command.options[:OPTIONS_MAX])
    now = await context.now()
    until = 0 if command.answer_s is None else now + int(command.answer_s * 1000)
    wanted = TaskPermissionAsked(
        task, run, command.number, command.title[:TITLE_CHARS], options, command.tool[:TITLE_CHARS], until
    )

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.task, task)
        return decide_ask(row, wanted, await context.floor())

    asked = await context.decide(call, decision)
    if asked is not None:
        await context.daemon.follower.changed(asked.first - 1)
    with trio.move_on_after(float("inf") if command.answer_s is None else command.answer_s):
        return p.Done({"answer": await _answer(call, task, run, command.number)})

    async def lapse() -> list[NewEvent]:
        row = await context.row(context.views.task, task)
        return decide_lapse(row, run, command.number, LAPSED, await context.floor())

    await context.decide(call, lapse)
    return p.Done({"answer": await _answer(call, task, run, command.number)})


async def _answer(call: Call, task: str, run: str, number: int) -> str:
    """Wait for the answer to a request. Raises Refused where the run ends before."""
    follower = call.context.daemon.follower if call.context.daemon is not None else None
    while follower is not None:
        row = follower.plan.tasks.get(task)
        live = None if row is None else row.live_run(run)
        request = None if live is None else known(live, number)
        if request is None:
            break
        if not request.is_open:
            return request.option
        await follower.news(task)
    raise Refused(f"run {shown(run)} is not on any more")


async def answer(call: Call, command: p.TaskAnswer) -> p.Done:
    """Answer a request for permission: once, by whoever is first. Raises as `decide_answer`."""
    context = call.context
    await check_whole_task(context, command.id, "task answer")

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.task, command.id)
        return decide_answer(command.id, row, command.answer, command.number, command.reason, await context.floor())

    if await context.decide(call, decision) is None:
        await call.note("it has that answer already")
    return p.Done(await told(context, await find(context, command.id)))


HANDLERS: dict[type[p.Command], Handler] = {p.TaskAnswer: answer, p.RunAsk: ask}
