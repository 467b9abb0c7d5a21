"""`events tail|export`, `audit`: the log, for people and for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from maestro.model.errors import Invalid
from maestro.model.events import FACTS
from maestro.model.ids import shown
from maestro.runtime import protocol as p
from maestro.runtime.context import Call
from maestro.runtime.server import Handler
from maestro.store.contract import Entry
from replayers import export as exports
from replayers import positions
from replayers.groups import Group

CHUNK = 1000


def _check_type(name: str | None) -> None:
    if name is None:
        return
    known = {*FACTS, *(fact.partition(".")[0] for fact in FACTS)}
    if name not in known:
        raise Invalid(f"there is no event type {shown(name)}", mend="events schema lists them")


def _matches(entry: Entry, name: str | None) -> bool:
    """Whether an entry is of the type `task.dispatched`, or of the family `task`."""
    kind = entry.type.decode("utf-8", "replace")
    return name is None or kind == name or kind.startswith(name + ".")


def ready(row: dict[str, Any]) -> Any:
    """A row with raw JSON in it, as plain data."""
    return msgspec.json.decode(msgspec.json.encode(row))


async def tail(call: Call, command: p.EventsTail) -> p.Done:
    """The last events, or those behind a position; with a group, those that it has not taken yet."""
    context = call.context
    log = context.store.log
    _check_type(command.type)
    if command.limit < 0:
        raise Invalid(f"limit {command.limit} is out of range", mend="use 0 or more")
    head = await context.call(log.head)
    group = None
    after = max(0, head.seq - command.limit)
    if command.from_position is not None:
        if command.from_position < 0:
            raise Invalid(f"there is no position {command.from_position}", mend=f"the log goes from 1 to {head.seq}")
        after = max(0, command.from_position - 1)
    if command.group is not None:
        start = 0 if command.from_position is None else after
        group = await context.call(Group, context.store, command.group, start)
        after = group.position
    while True:
        entries = await context.call(log.entries, after, CHUNK)
        for entry in entries:
            after = entry.seq
            if _matches(entry, command.type):
                await call.item(ready(exports.plain(entry)))
        if group is not None and entries:
            await context.call(group.taken, after)
        if not entries and not command.follow:
            return p.Done()
        if not entries:
            await context.changed(after)


async def export(call: Call, command: p.EventsExport) -> p.Done:
    """All events of a range, as stored, or as CloudEvents."""
    context = call.context
    log = context.store.log
    head = await context.call(log.head)
    last = head.seq if command.to_position is None else min(head.seq, command.to_position)
    if command.from_position < 0 or (command.to_position is not None and command.to_position < command.from_position):
        raise Invalid("the range of positions is empty", mend=f"the log goes from 1 to {head.seq}")
    write: Callable[[Entry], dict[str, Any]] = exports.plain
    if command.cloudevents:
        write = lambda entry: exports.cloud(entry, context.store.namespace)  # noqa: E731
    after = max(0, command.from_position - 1)
    while after < last:
        entries = await context.call(log.entries, after, min(CHUNK, last - after))
        if not entries:
            break
        for entry in entries:
            await call.item(ready(write(entry)))
        after = entries[-1].seq
    return p.Done()


async def audit(call: Call, command: p.Audit) -> p.Done:
    """Who did what, when and why: of all, or the whole story of one subject."""
    from replayers import audit as audits

    context = call.context
    _check_type(command.type)
    since = 0
    if command.since is not None:
        since = await context.call(positions.since, context.store, command.since)
    query = audits.Query(command.subject, since, command.type)
    while True:
        lines, after = await context.call(audits.page, context.store, query)
        for line in lines:
            await call.item(ready(audits.plain(line)))
        query = audits.further(query, after)
        if lines:
            continue
        if not command.follow:
            return p.Done()
        await context.changed(after)


HANDLERS: dict[type[p.Command], Handler] = {p.EventsTail: tail, p.EventsExport: export, p.Audit: audit}
