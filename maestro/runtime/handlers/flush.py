"""The handler of `redis flush`, which deletes this namespace, after an export of its log."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from maestro.model.errors import Invalid, Refused, StoreUnsafe, VerificationFailed
from maestro.model.events import NewEvent
from maestro.runtime.node.context import APPEND_S_MAX, Call, Handler
from maestro.runtime.node.forwards.forwarding import is_up
from maestro.runtime.node.known_head import LINEAGE, KnownHead, erased
from maestro.runtime.node.patience import patiently
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.settlement import check_file
from projections.fold import Stopped
from replayers.export import export

UNREADABLE = (StoreUnsafe, VerificationFailed, Stopped)
"""What is raised where the log cannot be read, which is no reason not to erase it."""


async def flush(call: Call, command: p.RedisFlush) -> p.Done:
    """Delete every key of the namespace; the new log says so, for the nodes that knew the old one.

    Raises Refused while runs are on, and as `check_file`; Invalid for another name.
    """
    context = call.context
    namespace = context.store.namespace
    if command.confirm != namespace:
        raise Invalid(f"the namespace is {namespace!r}, not {command.confirm!r}", "--confirm", "give its exact name")
    if context.running():
        raise Refused(f"{context.running()} runs are on", mend="maestro shutdown first")
    others = await _others(call)
    if command.backup is not None:
        with suppress(*UNREADABLE):
            await check_file(context, command.backup, "--backup")
    events = 0
    if command.backup is not None:
        events = await context.call(_back_up, call, Path(command.backup))
        await call.note(f"{events} events are in {command.backup}")
    gone = await context.call(erased, context.store, "redis flush")
    deleted = await context.call(context.store.erase)
    KnownHead(context.settings).forget()
    with patiently(APPEND_S_MAX):  # nobody could say it later: the next flush is of another log
        await context.append([NewEvent(LINEAGE, gone)], call.caller.actor, call.cause)
        await context.call(KnownHead(context.settings).check, context.store)
    if others:
        them = f"node{'s' if len(others) > 1 else ''} {', '.join(others)}"
        await call.note(f"the daemon of {them} ends, too; the next command there starts it anew")
    if context.daemon:
        call.after_answer(context.daemon.stop)
        await call.note("the daemon stops, as the log that it knew is gone; the next command starts it anew")
    return p.Done({"namespace": namespace, "deleted": deleted, "backup": command.backup, "events": events})


async def _others(call: Call) -> list[str]:
    """The other nodes that are up, as far as they can be read. Raises Refused where runs are on there."""
    context = call.context
    try:
        nodes = [node.id for node in await context.rows(context.views.nodes) if node.id != context.node]
        up = [node for node in nodes if await is_up(context, node)]
        tasks = await context.rows(context.views.open_tasks) if up else []
    except UNREADABLE:
        return []
    for node in up:
        runs = sum(slot.live is not None and slot.live.node == node for task in tasks for slot in task.slots)
        if runs:
            raise Refused(f"{runs} runs are on at node {node}", mend="maestro shutdown there first")
    return up


def _back_up(call: Call, path: Path) -> int:
    """Write the log as JSON Lines, whole or not at all. Raises Invalid where the file cannot be made."""
    part = path.with_name(path.name + ".part")
    count = 0
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            for line in export(call.context.store):
                file.write(line + "\n")
                count += 1
            file.flush()
            os.fsync(descriptor)
        part.rename(path)
    except OSError as error:
        raise Invalid(f"cannot write the backup: {error.strerror}", str(path), "name another file") from None
    return count


HANDLERS: dict[type[p.Command], Handler] = {p.RedisFlush: flush}
