"""The handler of `task dispatch`: from a prompt and its targets to a queued task, and with `--sync` to its end.

The decision is taken on the daemon's plan where there is one, which costs no reading of the store. Where the plan
refuses, the decision is taken again on the newest state, so that a write of a moment ago is always seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from maestro.model.agent import Agent, provisional
from maestro.model.assignment import decide_first_use
from maestro.model.coordination.awaited_nodes import nodes_to_start, told_to_start
from maestro.model.dispatch import (
    DispatchState,
    decide_cancel,
    decide_dispatch,
    differences,
)
from maestro.model.errors import Invalid, MaestroError, Refused, StoreAway
from maestro.model.events import AgentAssigned, NewEvent, TaskDispatched, Text
from maestro.model.ids import shown
from maestro.model.monitoring.health_rules import DEFINITION
from maestro.model.scheduling.plan import Plan
from maestro.model.target import is_pool, targets_of, unlabelled, who
from maestro.model.task import Task
from maestro.runtime.handlers.task_list import find
from maestro.runtime.handlers.task_sets.delegation import delegated
from maestro.runtime.handlers.task_sets.reasons import told_at_once
from maestro.runtime.handlers.tasks import exit_code, finished
from maestro.runtime.handlers.wait_notice import progress_of
from maestro.runtime.monitor.definition_change import change
from maestro.runtime.monitor.examination import ANSWER_S_MAX, refresh
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.ids import id_of_key, made_key, new_id
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.repetition import how_to_repeat
from maestro.runtime.provision.place_guard import check_place
from maestro.runtime.provision.type_binding import resolve_type
from maestro.runtime.restores.across.pending import pending_of
from maestro.store.contract import Committed, Rejected

PROMPT_BYTES_MAX = 64 * 1024 * 1024
TITLE_CHARS_MAX = 120
NO_LABEL = "MAESTRO_NODE_LABELS names those of a node"


async def dispatch(call: Call, command: p.TaskDispatch) -> p.Done:
    """Queue a task; with `sync` wait for its end, and exit as it did."""
    context = call.context
    text = checked_prompt(command.prompt)
    task_id = id_of_key(context.settings.namespace, command.key) if command.key else new_id()
    wanted = TaskDispatched(
        task=task_id,
        prompt="",
        title=title_of(text),
        targets=tuple(command.to),
        depends_on=tuple(command.depends_on),
        priority=command.priority,
        timeout_s=command.timeout_s,
        retries=command.retries,
        key=_key(call, command),
        trace=command.trace,
        forced=command.force,
        verify=command.verify,
        budget_tokens=command.budget_tokens,
        budget_cost=command.budget_cost,
    )
    call.when_interrupted(lambda: _unconfirmed(command))
    if call.run:
        await delegated(call, wanted)  # refused before anything is kept, or looked at, for it
    task_id = await _append(call, wanted, await context.keep(text), command.strict_key)
    if not command.sync:
        return p.Done(await told_at_once(call.context, await _row(call, task_id)))
    cancels = command.cancel_on_interrupt
    call.when_interrupted(lambda: _interrupted(call, cancels, task_id))
    call.again = p.TaskWait(ids=[task_id], one=True)
    async with progress_of(call, [task_id]):
        task = await finished(context, task_id)
    return p.Done(await told_at_once(call.context, task), exit_code(task))


def _key(call: Call, command: p.TaskDispatch) -> str | None:
    """The key that the event tells. A run's dispatch always has one: its cause is that of others, which may be alike,
    and the store takes an event with the same cause and content for the same one, sent again.
    """
    if call.run:
        return command.key or made_key()
    return None if command.first else command.key


def checked_prompt(prompt: str) -> str:
    """The prompt, if it can be one; it may be large, and is not copied. Raises Invalid."""
    if not prompt or prompt.isspace():
        raise Invalid("the prompt is empty", mend="say what the agent should do")
    size = len(prompt) if prompt.isascii() else len(prompt.encode("utf-8", "surrogateescape"))
    if size > PROMPT_BYTES_MAX:
        raise Invalid(f"the prompt has {size} bytes, more than {PROMPT_BYTES_MAX}", mend="put it into a file to read")
    return prompt


def title_of(prompt: str) -> str:
    """The first line of a prompt, shortened."""
    begin = next(index for index, char in enumerate(prompt) if not char.isspace())
    line = prompt[begin : begin + 2 * TITLE_CHARS_MAX].splitlines()[0].strip()
    line = "".join(c if c.isprintable() else " " for c in line)
    return line if len(line) <= TITLE_CHARS_MAX else line[: TITLE_CHARS_MAX - 1] + "…"


async def _append(call: Call, wanted: TaskDispatched, prompt: Text, strict_key: bool) -> str:
    """Decide a dispatch and append it; the id of the task. prompt: the text, or the blob that holds it. Raises as
    `decide_dispatch`, as `decide_delegation` where a run asks, and Refused where its key must not, and does, stand for
    another task.
    """
    known, asked = DispatchState([]), wanted

    async def decision(fresh: bool) -> list[NewEvent]:
        nonlocal known, wanted
        if call.run:
            wanted, known, first = await _delegated(call, asked, fresh)
        else:
            known, first = await _known(call, wanted, fresh)
        events = decide_dispatch(wanted, known)
        return first + [
            msgspec.structs.replace(event, fact=msgspec.structs.replace(event.fact, prompt=prompt))
            if isinstance(event.fact, TaskDispatched)
            else event
            for event in events
        ]

    fresh = False

    async def attempt() -> list[NewEvent]:
        nonlocal fresh
        if not fresh:
            fresh = True
            try:
                return await decision(fresh=False)
            except StoreAway:
                raise
            except MaestroError:  # the plan may be behind the log: the newest state has the last word
                pass
        return await decision(fresh=True)

    context, daemon = call.context, call.context.daemon
    await look_at(call, await targets_here(context, wanted.targets))

    async def append(events: Sequence[NewEvent], actor: str, cause: str, read_at: int) -> Committed | Rejected:
        at_once = await daemon.dispatcher.dispatch(events, actor, cause, read_at) if daemon else None
        return at_once or await context.submit(events, actor, cause, read_at=read_at)

    committed = await context.decide(call, attempt, append)
    for target, nodes in nodes_to_start(wanted, known).items():
        await call.note(told_to_start(target, nodes, known.nodes), "warn")
    await tell_unlabelled(call, wanted.targets, known)
    if known.existing is not None and wanted.key is not None:
        again = msgspec.structs.replace(wanted, prompt=prompt)
        await _tell_other(call, again, known.existing, strict_key)
    if committed is not None and daemon:
        await daemon.follower.changed(committed.last - 1)  # the plan has the task then, so that no view need be asked
    return wanted.task


async def _delegated(
    call: Call, asked: TaskDispatched, fresh: bool
) -> tuple[TaskDispatched, DispatchState, list[NewEvent]]:
    """The dispatch that a run asks for, with the id that it gets, and what the decision must know, as `_known`."""
    while True:
        wanted = await delegated(call, asked)
        known, first = await _known(call, wanted, fresh)
        if known.existing is None or known.existing.key == asked.key:
            return wanted, known, first  # else another dispatch of the run has taken the number that was free


async def tell_unlabelled(call: Call, targets: Sequence[str], known: DispatchState) -> None:
    """Warn of targets that wait for labels that no node has, or not that of their agent."""
    for target, why in unlabelled(targets, known.agents, known.nodes).items():
        await call.note(f"{target} waits for {why}: {NO_LABEL}", "warn")


async def look_at(call: Call, agents: Sequence[Agent]) -> None:
    """Examine agents of this node, and free ones; say whose definitions have changed since they were assigned."""
    settings = call.context.settings
    free = {a.id: partial(change, msgspec.structs.replace(a), settings.agents_dirs) for a in agents if a.node is None}
    made = await refresh(call, agents)
    told = [check.detail for checks in made.values() for check in checks if check.notable and check.name == DEFINITION]
    told += (await call.context.together(free, ANSWER_S_MAX)).values()
    for what in filter(None, told):
        await call.note(what, "warn")


async def _tell_other(call: Call, wanted: TaskDispatched, existing: Task, strict: bool) -> None:
    """Say that the key of a dispatch stands for a task that differs from it. Raises Refused instead where `strict`.

    What the key meant is in the log, at the position where the task was dispatched; that is sealed, never deleted.
    """
    event = await call.context.call(call.context.store.log.event, existing.position)
    if event is None or not isinstance(event.fact, TaskDispatched):
        return
    if other := differences(wanted, event.fact):
        what = other_task(wanted.key or "", existing.id, other)
        if strict:
            raise Refused(what, "--strict-key", "use another key for another task")
        await call.note(f"{what}; that one stands, and nothing was dispatched", "warn")


def other_task(key: str, task: str, differs: Sequence[str]) -> str:
    """The words for a key that stands for another task. differs: in what, as `differences` names it."""
    return f"the key {shown(key)} stands for task {task}, which has another {', '.join(differs)}"


async def targets_here(context: Context, targets: Sequence[str]) -> list[Agent]:
    """The agents of this node, and of none, that these targets stand for, as known now."""
    names = {who(target) for target in targets}
    if context.daemon is not None:
        plan = context.daemon.follower.plan
        agents_of = dict.fromkeys(agent for name in names for agent in plan.crew.members.get(name, ()))
        found = [plan.agents[name] for name in agents_of]
    else:
        agents = await context.agents()
        found = [agent for agent in agents if not names.isdisjoint(targets_of(agent))]
    return [agent for agent in found if agent.node in (None, context.node)]


async def _known(call: Call, wanted: TaskDispatched, fresh: bool) -> tuple[DispatchState, list[NewEvent]]:
    """What a dispatch must know, and the events that register types and agents that it is the first to name."""
    context = call.context
    existing: Task | None = None
    if wanted.key is not None or fresh:
        existing = await context.row(context.views.task, wanted.task)
    plan = None if context.daemon is None or fresh else context.daemon.follower.plan
    if plan is not None:
        agents, nodes, floor = _named(plan, wanted.targets), plan.nodes, plan.floor
    else:
        agents = {agent.id: agent for agent in await context.agents()}
        nodes = {node.id: node for node in await context.rows(context.views.nodes)}
        floor = await context.floor()
    tasks = []
    for dependency in wanted.depends_on:
        open_here = plan is not None and dependency in plan.tasks
        if open_here or await context.row(context.views.task, dependency) is not None:
            tasks.append(dependency)
    first = [] if existing is not None else await first_use(call, wanted.targets, agents, floor)
    pending = await pending_of(context, agents.values())
    return DispatchState(list(agents.values()), tasks, existing, nodes, context.node, floor, pending), first


def _named(plan: Plan, targets: Sequence[str]) -> dict[str, Agent]:
    """The agents that these targets stand for, and those of the names of types that they name."""
    asked = [who(target) for target in targets]
    members = (name for target in asked for name in plan.crew.members.get(target, ()))
    names = dict.fromkeys((*members, *(target.removeprefix("type:") for target in asked)))
    return {name: plan.agents[name] for name in names if name in plan.agents}


async def known_to(call: Call, wanted: TaskDispatched) -> DispatchState:
    """What a dispatch that is only tried must know, on the newest state. Raises as `first_use`."""
    return (await _known(call, wanted, fresh=True))[0]


async def first_use(call: Call, targets: Sequence[str], agents: dict[str, Agent], floor: int) -> list[NewEvent]:
    """The events that register types which have no agent, and assign to each the agent of its name.

    The new agents are added to `agents`.
    """
    facts: list[AgentAssigned] = []
    version = 0
    for target in map(who, targets):
        slug = target.removeprefix("type:")
        if slug in agents or (is_pool(target) and (slug == target or any(a.type == slug for a in agents.values()))):
            continue
        definition, settings = await resolve_type(call, slug)
        place = await check_place(call, slug, None, None)
        version = version if facts else place.version
        facts.append(AgentAssigned(slug, slug, definition.to_dict(), str(settings.workspace_root)))
        agents[slug] = provisional(facts[-1])
    return decide_first_use(facts, version, floor)


async def _row(call: Call, task: str) -> Task:
    """The task, from the daemon's plan where it has it."""
    daemon = call.context.daemon
    known = daemon.follower.known(task) if daemon else None
    return known or await find(call.context, task)


async def _unconfirmed(command: p.TaskDispatch) -> str:
    return f"interrupted before it was confirmed; {how_to_repeat(command)}"


async def _interrupted(call: Call, cancels: bool, task_id: str) -> str:
    if not cancels:
        return f"interrupted; task {task_id} goes on: maestro task wait {task_id}, or maestro task cancel {task_id}"
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.task, task_id)
        return decide_cancel(task_id, row, "interrupted", await context.floor())

    await context.decide(call, decision)
    await finished(context, task_id)
    return f"interrupted; task {task_id} was cancelled"


HANDLERS: dict[type[p.Command], Handler] = {p.TaskDispatch: dispatch}
