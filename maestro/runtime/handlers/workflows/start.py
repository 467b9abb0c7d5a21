"""The handler of `workflow run`: from a workflow, stored or in a file, to the start of a run in the log.

The leader of the scheduler drives the run from there on. All that can be refused is refused here, before the append.
"""

from __future__ import annotations

from functools import partial

import msgspec

from maestro.model.errors import Invalid
from maestro.model.events import NewEvent, WorkflowRunStarted
from maestro.model.ids import check_priority, check_text, shown
from maestro.model.node import decide_resume
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.stored.params import from_texts, merged
from maestro.model.workflow.stored.starting import (
    Before,
    Place,
    Target,
    Wish,
    canonical_children,
    folder_of,
    start_of,
)
from maestro.model.workflow.stored.storing import check_workflow_id, numbered, usable
from maestro.runtime.handlers.workflows import library
from maestro.runtime.handlers.workflows.definitions import INLINE_BYTES_MAX, digest_of, store
from maestro.runtime.handlers.workflows.groups import check_free, group_of
from maestro.runtime.handlers.workflows.inspection import inspected
from maestro.runtime.handlers.workflows.key_meaning import tell_other
from maestro.runtime.handlers.workflows.predecessor import Predecessor, check_folder, check_step, predecessor
from maestro.runtime.handlers.workflows.preview import preview
from maestro.runtime.handlers.workflows.workforce import Workforce
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.node.ids import id_of_key, new_id
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.repetition import how_to_repeat
from maestro.runtime.server.run_rows import header_row

FILES = ("keep", "restore")
NOBODY = (": unknown agent", ": no agent has the ")
"""In complaints about who is not there."""


async def start(call: Call, command: p.WorkflowStart) -> p.Done:
    """Start a run; with a key that was used before, tell the run that it made."""
    check_options(command)
    context = call.context
    namespace = context.settings.namespace
    run = id_of_key(f"{namespace}\0workflow-run", command.key) if command.key else new_id()
    call.when_interrupted(partial(_unconfirmed, command))
    known: RunHeader | None = None
    if command.key and not command.first:
        known = await context.row(context.views.workflow_run, run)
    if known is None:
        target = await _target(call, command)
        if target is None:
            return p.Done(None, 2)
        starting = _Starting(call, command, run, target)
        await starting.prepare()
        if command.dry_run:
            return p.Done(await preview(target, starting.wanted, starting.workforce))
        known, is_new = await starting.append()
        if is_new:
            return p.Done(header_row(known))
    await tell_other(call, command, known)
    return p.Done(header_row(known))


def check_options(command: p.WorkflowStart) -> None:
    """Check what needs no look at the store. Raises Invalid."""
    check_workflow_id(command.workflow)
    check_priority(command.priority)
    if command.key is not None:
        check_text(command.key, "key")
    if command.files not in FILES:
        raise Invalid(f"{shown(command.files)} is unknown", "--files", "use keep or restore")
    for given, option in ((command.run, "--run"), (command.files == "restore", "--files restore")):
        if given and not command.resume:
            raise Invalid("it goes with --resume-from", option, "name a step, or `failed`")
    if command.resume:
        check_step(command.resume)
    if command.definition and command.version:
        raise Invalid("a file has no versions", "--version", "run it by its name, or leave it out")


async def _target(call: Call, command: p.WorkflowStart) -> Target | None:
    """What is to run, with what is below it; a file is stored first. None where that has errors, which were told."""
    context, name = call.context, command.workflow
    if command.definition:
        reading = await inspected(call, command.definition, command.file, name, command.overrides)
        if reading.workflow is None or not reading.is_valid:
            lacks = any(what in one.what for one in reading.complaints for what in NOBODY)
            if lacks and "*" not in command.overrides:
                await call.note("to try it without its agents: --agent-override '*=echo'")
            return None
        if command.dry_run:
            children = await library.pinned(context, name, reading.workflow)
            known = await library.find(context, name)
            is_stored = known is not None and not known.deleted and known.newest.digest == digest_of(command.definition)
            return Target(name, known.newest.version if known and is_stored else 0, reading.workflow, "", children)
        row = await store(call, p.WorkflowCreate(name, command.definition, command.file), reading.workflow)
        if row["stored"]:
            await call.note(f"stored {command.file} as version {row['version']} of workflow {name}")
        version_number = row["version"]
    else:
        version_number = command.version
    version = numbered(usable(name, await library.find(context, name)), version_number)
    fact = await library.stored_fact(context, version)
    workflow = await library.stored_definition(context, version)
    children = await library.pinned(context, name, workflow)
    return Target(name, version.version, workflow, fact.definition, children)


class _Starting:
    """One start. wanted: the event, once it is prepared; workforce: the agents that it needs."""

    def __init__(self, call: Call, command: p.WorkflowStart, run: str, target: Target) -> None:
        self._call = call
        self._command = command
        self._run = run
        self._target = target
        self._before: Predecessor | None = None
        self.workforce = Workforce(call, target, command.overrides)
        self.wanted = WorkflowRunStarted(run, target.id, target.version, target.definition)

    async def prepare(self) -> None:
        """Find out all that the event holds. Raises what refuses the start."""
        call, command, target = self._call, self._command, self._target
        context = call.context
        if command.resume:
            self._before = await predecessor(call, command, target)
        params = dict(target.workflow.vars)
        if self._before is not None:
            params |= self._before.params(target.workflow)
        merged(target.workflow, command.vars, command.vars_file or "--vars")  # raises for what is not declared
        params |= command.vars
        params |= from_texts(target.workflow, command.params, "--param")
        group = await group_of(target.workflow, params)
        here = Place(context.node, folder_of(str(context.settings.workspace_root), self._run))
        takes = self._before
        place = takes.place if takes else here
        wish = Wish(
            command.priority,
            command.trace,
            command.key if not command.first else None,
            command.overrides,
            command.files == "restore",
            command.force,
            Before(takes.header.id, takes.takes) if takes else None,
        )
        self.wanted = start_of(self._run, target, params, group, place, wish)
        again = frozenset(takes.takes.again) if takes else None
        await self.workforce.examine(again)

    async def append(self) -> tuple[RunHeader, bool]:
        """Append the start, unless the same key made a run meanwhile; the header of the run, and whether it is new."""
        call, context, target = self._call, self._call.context, self._target
        children = await context.keep(canonical_children(target.children), INLINE_BYTES_MAX)
        wanted = msgspec.structs.replace(self.wanted, children=children)

        async def decision() -> list[NewEvent]:
            if await context.row(context.views.workflow_run, self._run) is not None:
                return []
            usable(target.id, await library.find(context, target.id))
            if wanted.when_busy == "reject":
                await check_free(context, wanted.group)
            if self._before is not None:
                await check_folder(context, self._before)
            floor = await context.floor()
            first, agents = await self.workforce.first_use(floor)
            nodes = {node.id: node for node in await context.rows(context.views.nodes)}
            reason = f"run {self._run} of workflow {target.id} was started"
            resumed = decide_resume(nodes, agents, context.node, reason)
            return [*first, NewEvent(f"workflow-run:{self._run}", wanted, floor), *resumed]

        committed = await context.decide(call, decision)
        if committed is not None and context.daemon:
            await context.daemon.follower.changed(committed.last - 1)
        header = await context.row(context.views.workflow_run, self._run)
        assert header is not None  # the append, or the one before it, made it
        return header, committed is not None


async def _unconfirmed(command: p.WorkflowStart) -> str:
    return f"interrupted before it was confirmed; {how_to_repeat(command)}"


HANDLERS: dict[type[p.Command], Handler] = {p.WorkflowStart: start}
