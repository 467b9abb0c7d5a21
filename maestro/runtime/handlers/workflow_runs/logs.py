"""The handler of `workflow logs`: the output of the tasks of a run's steps; of several, each line with its step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio

from maestro.model.errors import MaestroError, NotFound
from maestro.model.events import Event, StepEnded, StepStarted
from maestro.model.ids import nearest, shown
from maestro.model.workflow.instances import instance_id, parse_instance
from maestro.model.workflow.run import Run
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.handlers.run_output import follow_task, tail_runs
from maestro.runtime.handlers.task_list import find
from maestro.runtime.handlers.workflow_runs.reading import newest
from maestro.runtime.handlers.workflow_runs.waiting import LOOK_S
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.node.run_reader import run_events, run_of
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.run_rows import header_meant, header_of


class Working(NamedTuple):
    """What works for an instance: a task, or the run of a child workflow."""

    task: str
    child: str


class Prefixed:
    """A call whose output is sent line by line, each with the instance that it is of."""

    def __init__(self, call: Call, name: str) -> None:
        self._call = call
        self._name = name
        self._held = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def output(self, text: str) -> None:
        """Send the lines that are whole; the rest is held back."""
        *lines, self._held = (self._held + text).split("\n")
        if lines:
            await self._call.output("".join(f"{self._name}: {line}\n" for line in lines))

    async def note(self, text: str, level: str = "info", below: Any = ()) -> None:
        """A note, with the instance that it is of."""
        await self._call.note(f"{self._name}: {text}", level, below)

    async def close(self) -> None:
        """Send what is held back."""
        if self._held:
            await self._call.output(f"{self._name}: {self._held}\n")
            self._held = ""


async def logs(call: Call, command: p.WorkflowLogs) -> p.Done:
    """Send the output of the steps of a run, in the order in which they started; with `follow` until it has ended."""
    if command.last or command.id is None:
        header = await newest(call.context, command.id)
    else:
        header = await header_meant(call.context, command.id)
    run, events = await run_of(call.context, header)
    wanted = "" if command.step is None else instance_meant(run, command.step)
    if command.follow and header.open:
        await _follow_run(call, header, wanted, plain=wanted in run.instances)
        return p.Done()
    started = _started(events, wanted)
    if not started:
        await call.note("nothing has run yet")
    for instance, what in started.items():
        await _whole(call, what, instance if len(started) > 1 else "")
    return p.Done()


async def _follow_run(call: Call, header: RunHeader, wanted: str, prefix: str = "", plain: bool = False) -> None:
    """Send the output of what a run starts, and has started, until the run has ended. plain: without prefixes."""
    context = call.context
    known: dict[str, Working] = {}
    after = 0
    async with trio.open_nursery() as nursery:
        while True:
            checkpoint = (await context.call(context.views.workflow_run, header.id)).checkpoint
            header = await header_of(context, header.id)
            events = await context.call(run_events, context.store.log, header, after)
            over = _over(events) if not after else set()
            for instance, what in _started(events, wanted).items():
                if known.get(instance) == what:
                    continue
                known[instance] = what
                name = "" if plain else prefix + instance
                if instance in over:  # in order, before what is still on
                    await _whole(call, what, name)
                else:
                    nursery.start_soon(_follow, call, what, name)
            after = header.seq
            if not header.open:
                return
            await context.changed(checkpoint.seq)
            await trio.sleep(LOOK_S)


def instance_meant(run: Run, text: str) -> str:
    """The id of a step or an instance as a user names it: `review:3` is `review[3]`. Raises NotFound."""
    parsed = parse_instance(text)
    if parsed is None or parsed[0] not in run.steps:
        near = " or ".join(repr(each) for each in nearest(text, run.steps))
        asked = f"did you mean {near}?" if near else f"its steps are {', '.join(run.steps)}"
        raise NotFound(f"the run has no step {shown(text)}", mend=asked)
    instance, round = instance_id(*parsed), instance_id(*parsed[:2])
    has_begun = any(instance_id(one.step, one.round) == round for one in run.instances.values())
    if instance not in (parsed[0], *run.instances) and (has_begun or run.ended):
        of_step = [one for one in run.instances.values() if one.step == parsed[0]]
        has = [one.id for one in sorted(of_step, key=lambda one: (one.round, one.item or 0))]
        mend = f"it has {', '.join(has[:5])}{' …' if len(has) > 5 else ''}" if has else "the step has never begun"
        raise NotFound(f"step {parsed[0]} has no instance {shown(text)}", mend=mend)
    return instance


def _started(events: list[Event], wanted: str) -> dict[str, Working]:
    """What works, or has worked last, for each instance that has started, in order."""
    found: dict[str, Working] = {}
    for event in events:
        fact = event.fact
        if isinstance(fact, StepStarted) and _is_of(fact.instance, wanted):
            found[fact.instance] = Working(fact.task, fact.child)
    return found


def _over(events: list[Event]) -> set[str]:
    """The instances of which nothing follows."""
    return {event.fact.instance for event in events if isinstance(event.fact, StepEnded) and not event.fact.next}


def _is_of(instance: str, wanted: str) -> bool:
    parsed = parse_instance(instance)
    return wanted in ("", instance) or (parsed is not None and parsed[0] == wanted)


async def _whole(call: Call, what: Working, name: str) -> None:
    """Send what the last attempt of a task, or all steps of a child run, have printed so far."""
    if what.child:
        _, events = await run_of(call.context, await header_of(call.context, what.child))
        for instance, inner in _started(events, "").items():
            await _whole(call, inner, f"{name}/{instance}" if name else instance)
        return
    async with _named(call, name) as sent:
        row = await find(call.context, what.task)
        await tail_runs(sent, [slot.runs[-1].id for slot in row.slots if slot.runs], False)


async def _follow(call: Call, what: Working, name: str) -> None:
    """Send the output of a task, or of a child run, as it comes, until it has ended."""
    if what.child:
        child = await header_of(call.context, what.child)
        await _follow_run(call, child, "", f"{name}/" if name else "")
        return
    async with _named(call, name) as sent:
        await follow_task(sent, what.task, None)


@asynccontextmanager
async def _named(call: Call, name: str) -> AsyncIterator[Any]:
    """A call whose output is of one instance; what cannot be read is noted, and leaves the others as they are."""
    sent: Any = Prefixed(call, name) if name else call
    try:
        yield sent
    except MaestroError as error:
        await sent.note(error.line(), "warn")
    if name:
        await sent.close()


HANDLERS: dict[type[p.Command], Handler] = {p.WorkflowLogs: logs}
