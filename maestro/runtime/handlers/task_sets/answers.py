"""The handlers of what agents ask leave for: `run ask` of a run, which waits, and `task answer` of who decides."""

from __future__ import annotations

import trio

from maestro.model.errors import Refused
from maestro.model.events import NewEvent
from maestro.model.facts.permission import PermissionOption, TaskPermissionAsked
from maestro.model.ids import shown, task_of_run
from maestro.model.permissions.answers import option_of
from maestro.model.permissions.policy import Ruling, ruled_by
from maestro.model.permissions.requests import decide_answer, decide_ask, decide_lapse, decide_ruled, known
from maestro.runtime.handlers.task_list import find
from maestro.runtime.handlers.task_sets.reasons import told
from maestro.runtime.handlers.task_sets.started_definitions import definition_at
from maestro.runtime.node.context import Call, Context, Handler
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

    ruling = await _ruling(context, run, command) if command.ruled else None

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.task, task)
        if ruling is not None:
            return decide_ruled(row, wanted, ruling, await context.floor())
        return decide_ask(row, wanted, await context.floor())

    asked = await context.decide(call, decision)
    if ruling is not None:
        return p.Done({"answer": option_of(ruling.answer, [one[:2] for one in command.options])})
    if asked is not None:
        await context.daemon.follower.changed(asked.first - 1)
    with trio.move_on_after(float("inf") if command.answer_s is None else command.answer_s):
        return p.Done({"answer": await _answer(call, task, run, command.number)})

    async def lapse() -> list[NewEvent]:
        row = await context.row(context.views.task, task)
        return decide_lapse(row, run, command.number, LAPSED, await context.floor())

    await context.decide(call, lapse)
    return p.Done({"answer": await _answer(call, task, run, command.number)})


async def _ruling(context: Context, run: str, command: p.RunAsk) -> Ruling:
    """What the policy of the run's type has decided, as the run says. Raises Refused where it has not."""
    task = await context.row(context.views.task, task_of_run(run))
    live = None if task is None else task.live_run(run)
    agents = [] if live is None else [each for each in await context.agents() if each.id == live.agent]
    if live is None or not agents:
        raise Refused(f"run {shown(run)} is not on any more")
    definition = await context.call(definition_at, context.store, agents[0], live.started_at)
    if command.ruled == "allow" and ruled_by(definition, command.tool).answer != "allow":
        raise Refused(f"the type of agent {live.agent} does not allow {shown(command.tool)} by itself")
    return Ruling("allow" if command.ruled == "allow" else "reject", command.why[:TITLE_CHARS])


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
