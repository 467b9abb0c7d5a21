"""`task dispatch`: from a prompt and its targets to a queued task, and with `--sync` to its end.

The decision is taken on the daemon's plan where there is one, which costs no reading of the store; only when the plan
says no is it brought to the end of the log and asked again, so that a write of a moment ago is always seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from maestro.model.agent import Agent, provisional
from maestro.model.dispatch import Known, decide_cancel, decide_dispatch
from maestro.model.errors import Invalid, MaestroError, Unknown
from maestro.model.events import AgentAssigned, AgentRegistered, NewEvent, TaskDispatched, Text
from maestro.model.target import is_pool
from maestro.model.task import Task
from maestro.runtime import protocol as p
from maestro.runtime.context import Call
from maestro.runtime.handlers.registering import resolve_type
from maestro.runtime.handlers.tasks import exit_code, find, finished
from maestro.runtime.ids import id_of_key, is_made, new_id, same_call
from maestro.runtime.rows import task_row
from maestro.runtime.server import Handler
from maestro.runtime.workplaces import check_runs_place
from maestro.store.contract import Committed, Rejected

PROMPT_BYTES_MAX = 64 * 1024 * 1024
TITLE_CHARS_MAX = 120


async def dispatch(call: Call, command: p.TaskDispatch) -> p.Done:
    """Queue the task; with `sync` wait for its end, and exit as it did."""
    context = call.context
    text = _checked(command.prompt)
    task_id = await _task_id(call, command)
    wanted = TaskDispatched(
        task=task_id,
        prompt="",
        title=_title(text),
        targets=tuple(command.to),
        depends_on=tuple(command.depends_on),
        priority=command.priority,
        timeout_s=command.timeout_s,
        retries=command.retries,
        key=command.key,
        trace=command.trace,
        forced=command.force,
        verify=command.verify,
        budget_tokens=command.budget_tokens,
        budget_cost=command.budget_cost,
    )
    try:
        await _append(call, wanted, await context.keep(text))
    except Unknown as unknown:
        raise Unknown(unknown.what, unknown.where, same_call(command.key or task_id)) from unknown
    if not command.sync:
        return p.Done(task_row(await _row(call, task_id)))
    cancels = command.cancel_on_interrupt
    call.when_interrupted(lambda: _interrupted(call, cancels, task_id))
    call.again = p.TaskWait(ids=[task_id], one=True)
    task = await finished(context, task_id, _Progress(call).tell if call.caller.terminal else None)
    return p.Done(task_row(task), exit_code(task))


async def _task_id(call: Call, command: p.TaskDispatch) -> str:
    """The id of the task: chosen by the client, or the one that its key stands for."""
    if command.key is None:
        return command.id or new_id()
    by_name = id_of_key(call.context.settings.namespace, command.key)
    if is_made(command.key) and await call.context.row(call.context.views.task, by_name) is None:
        return command.key  # a dispatch without a key, repeated
    return by_name


class _Progress:
    """Tells a terminal what has become of a task, when that has changed."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._said = ""

    async def tell(self, task: Task) -> None:
        parts = []
        for slot in task.slots:
            run = slot.runs[-1] if slot.runs else None
            where = run.agent if run and slot.status != "waiting" else slot.target
            attempt = f", attempt {len(slot.runs)}" if len(slot.runs) > 1 else ""
            parts.append(f"{where} {slot.outcome or slot.status}{attempt}")
        text = f"task {task.id}: {'; '.join(parts)}"
        if text != self._said:
            self._said = text
            await self._call.note(text, "progress")


def _checked(prompt: str) -> str:
    """A prompt may be large: it is looked at without a copy."""
    if not prompt or prompt.isspace():
        raise Invalid("the prompt is empty", mend="say what the agent should do")
    size = len(prompt) if prompt.isascii() else len(prompt.encode("utf-8", "surrogateescape"))
    if size > PROMPT_BYTES_MAX:
        raise Invalid(f"the prompt has {size} bytes, more than {PROMPT_BYTES_MAX}", mend="put it into a file to read")
    return prompt


def _title(prompt: str) -> str:
    """Its first line, shortened."""
    begin = next(index for index, char in enumerate(prompt) if not char.isspace())
    line = prompt[begin : begin + 2 * TITLE_CHARS_MAX].splitlines()[0].strip()
    line = "".join(c if c.isprintable() else " " for c in line)
    return line if len(line) <= TITLE_CHARS_MAX else line[: TITLE_CHARS_MAX - 1] + "…"


async def _append(call: Call, wanted: TaskDispatched, prompt: Text) -> None:
    """Decide and append. Raises what the decision raises on the newest state."""

    async def decision(fresh: bool) -> list[NewEvent]:
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
            except MaestroError:
                pass
        return await decision(fresh=True)

    context, daemon = call.context, call.context.daemon

    async def append(events: Sequence[NewEvent], actor: str, cause: str) -> Committed | Rejected:
        at_once = await daemon.dispatch(events, actor, cause) if daemon else None
        return at_once or await context.append_promptly(events, actor, cause)

    committed = await context.decide(call, attempt, append)
    if committed is not None and daemon:
        await daemon.changed(committed.last - 1)  # the plan then has it, and no view need be asked


async def _known(call: Call, wanted: TaskDispatched, fresh: bool) -> tuple[Known, list[NewEvent]]:
    """What the decision must know, and the events that register targets used for the first time."""
    context = call.context
    existing: Task | None = None
    if wanted.key is not None:
        existing = await context.row(context.views.task, wanted.task)
    plan = None if context.daemon is None or fresh else context.daemon.plan()
    if plan is not None:
        agents, nodes, floor = dict(plan.agents), plan.nodes, plan.floor
    else:
        agents = {agent.id: agent for agent in await context.rows(context.views.agents)}
        nodes = {node.id: node for node in await context.rows(context.views.nodes)}
        floor = await context.floor()
    tasks = []
    for dependency in wanted.depends_on:
        open_here = plan is not None and dependency in plan.tasks
        if open_here or await context.row(context.views.task, dependency) is not None:
            tasks.append(dependency)
    first = await _first_use(call, wanted, agents, floor)
    return Known(list(agents.values()), tasks, existing, nodes, context.node, floor), first


async def _first_use(call: Call, wanted: TaskDispatched, agents: dict[str, Agent], floor: int) -> list[NewEvent]:
    """A type without an agent registers itself on first use; adds to `agents` what the events will make."""
    events: list[NewEvent] = []
    for target in wanted.targets:
        slug = target.removeprefix("type:")
        if slug in agents or (is_pool(target) and (slug == target or any(a.type == slug for a in agents.values()))):
            continue
        definition, settings = await resolve_type(call, slug)
        await check_runs_place(call, slug)
        fact = AgentAssigned(slug, slug, definition.to_dict(), str(settings.workspace_root))
        events.append(NewEvent(f"type:{slug}", AgentRegistered(slug, fact.definition, definition.source)))
        events.append(NewEvent(f"agent:{slug}", fact, floor))
        agents[slug] = provisional(fact)
    return events


async def _row(call: Call, task: str) -> Task:
    daemon = call.context.daemon
    known = (daemon.plan().tasks.get(task) or daemon.finished(task)) if daemon else None
    return known or await find(call.context, task)


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
