"""The handlers of `events tail|export` and `audit`, which show the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from maestro.model.errors import Invalid, NotFound
from maestro.model.events import FACTS
from maestro.model.ids import nearest, shown
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.cut import cut_of_page
from maestro.runtime.server.id_prefixes import PREFIXED, subject_meant
from maestro.store.contract import Entry
from replayers import export as exports, positions
from replayers.chain import CheckedReader
from replayers.groups import Group

CHUNK = 1000
NEWEST = 100
"""How many events `events tail` shows by default."""
LIMIT_MAX = 1_000_000


def _check_types(names: Sequence[str]) -> None:
    known = {*FACTS, *(fact.partition(".")[0] for fact in FACTS)}
    for name in names:
        if name in known:
            continue
        near = " or ".join(nearest(name, known))
        asked = f"did you mean {near}? " if near else ""
        raise Invalid(f"there is no event type {shown(name)}", mend=asked + "maestro events schema lists them")


def _matches(entry: Entry, names: Sequence[str]) -> bool:
    """Whether an entry is of one of these types, such as `task.dispatched`, or families, such as `task`; of no names:
    always.
    """
    kind = entry.type.decode("utf-8", "replace")
    return not names or any(f"{kind}.".startswith(f"{name}.") for name in names)


def ready(row: dict[str, Any]) -> Any:
    """A row in which parts are raw JSON, as plain data."""
    return msgspec.json.decode(msgspec.json.encode(row))


async def tail(call: Call, command: p.EventsTail) -> p.Done:
    """Send the newest events, or those from a position on; with a group, those that the group has not taken yet."""
    context = call.context
    _check_types(command.types)
    if command.limit is not None and command.limit < 0:
        raise Invalid(f"limit {command.limit} is out of range", mend="use 0 or more")
    if command.group is not None:
        return await _batch(call, command, command.group)
    head = (await context.call(context.store.log.head)).seq
    if command.from_position is None:
        after, cut, left = *await _begin_newest(context, command, head), None
    elif command.from_position < 0:
        raise Invalid(f"there is no position {command.from_position}", mend=f"the log goes from 1 to {head}")
    else:
        after, cut, left = max(0, command.from_position - 1), None, command.limit
    log = CheckedReader(context.store.log)
    while left != 0 and (command.follow or after < head) and log.found is None:
        entries = await context.call(log.entries, after, CHUNK if command.follow else min(CHUNK, head - after))
        for entry in entries:
            if left == 0:
                break
            after = entry.seq
            if _matches(entry, command.types):
                await call.item(ready(exports.plain(entry)))
                left = None if left is None else left - 1
        if not entries and not command.follow:
            break
        if not entries:
            await context.changed(after)
    if left == 0 and after < head:
        cut = p.Cut(command.limit or 0, "events", f"--from {after + 1} goes on behind them")
    return await _end(call, log, cut=cut)


async def _end(call: Call, log: CheckedReader, data: Any = None, cut: p.Cut | None = None) -> p.Done:
    """The end of an answer that showed events: exit 6 where one of them is not what was written."""
    if log.found is not None:
        await call.note(log.warning(), "warn")
    return p.Done(data, 6 if log.found else 0, cut)


async def _begin_newest(context: Context, command: p.EventsTail, head: int) -> tuple[int, p.Cut | None]:
    """The position behind which the newest events stand that are to be shown, and what that leaves out."""
    count = NEWEST if command.limit is None else command.limit
    after = await _newest(context, command.types, count, head)
    total = head if not command.types else None  # how many of a type there are, only a reading of all would tell
    return after, cut_of_page(count, "events", LIMIT_MAX, total) if after else None


async def _newest(context: Context, kinds: Sequence[str], count: int, head: int) -> int:
    """The position behind which the newest `count` events of these types stand."""
    if not kinds or not count:
        return max(0, head - count)
    after = head
    while after > 0:
        first = max(0, after - CHUNK)
        for entry in reversed(await context.call(context.store.log.entries, first, after - first)):
            if _matches(entry, kinds):
                count -= 1
                if not count:
                    return entry.seq - 1
        after = first
    return 0


async def _batch(call: Call, command: p.EventsTail, name: str) -> p.Done:
    """Send the events behind the position of a group, a chunk at most; with `follow` wait until there are some."""
    context = call.context
    group = await context.call(Group, context.store, name)
    if command.taken is not None and command.taken > group.position:
        await context.call(group.taken, command.taken)
    after, left = group.position, command.limit
    log = CheckedReader(context.store.log)
    while left != 0:
        entries = await context.call(log.entries, after, CHUNK)
        if not entries and not command.follow:
            break
        if not entries:
            await context.changed(after)
            continue
        for entry in entries:
            if left == 0:
                break
            after = entry.seq
            if _matches(entry, command.types):
                await call.item(ready(exports.plain(entry)))
                left = None if left is None else left - 1
        return await _end(call, log, {"position": after, "end": False})
    return p.Done({"position": after, "end": True})


async def export(call: Call, command: p.EventsExport) -> p.Done:
    """Send all events of a range, as stored, or as CloudEvents. Raises Invalid."""
    context = call.context
    head = await context.call(context.store.log.head)
    last = head.seq if command.to_position is None else min(head.seq, command.to_position)
    if command.from_position < 0 or (command.to_position is not None and command.to_position < command.from_position):
        raise Invalid("the range of positions is empty", mend=f"the log goes from 1 to {head.seq}")
    write: Callable[[Entry], dict[str, Any]] = exports.plain
    if command.cloudevents:
        write = lambda entry: exports.cloud(entry, context.store.namespace)  # noqa: E731
    after = max(0, command.from_position - 1)
    log = CheckedReader(context.store.log)
    while after < last:
        entries = await context.call(log.entries, after, min(CHUNK, last - after))
        if not entries:
            break
        for entry in entries:
            await call.item(ready(write(entry)))
        after = entries[-1].seq
    return await _end(call, log)


async def audit(call: Call, command: p.Audit) -> p.Done:
    """Send who did what, when and why: of all, or the whole story of one subject."""
    from replayers import audit as audits

    context = call.context
    _check_types(command.types)
    since = 0
    if command.since is not None:
        since = await context.call(positions.since, context.store, command.since)
    subject = None if command.subject is None else await _subject(context, command.subject)
    query = audits.Query(subject, since, tuple(command.types))
    log, shown_any = CheckedReader(context.store.log), False
    while True:
        lines, after = await context.call(audits.page, context.store, query, log)
        shown_any = shown_any or bool(lines)
        for line in lines:
            await call.item(ready(audits.plain(line)))
        query = audits.further(query, after)
        if lines:
            continue
        if command.subject and not (shown_any or command.follow or command.types or since or log.found):
            raise NotFound(
                f"nothing is known of {shown(command.subject)}",
                mend="maestro audit without a subject shows all",
                sought=("subject", command.subject),
            )
        if not command.follow or log.found:
            return await _end(call, log)
        await context.changed(after)


async def _subject(context: Context, text: str) -> str:
    """The subject that a user means, by its name or id, or by the beginning of an id. Raises NotFound, Invalid."""
    from replayers import audit as audits

    if text.partition(":")[0] in PREFIXED:
        return await subject_meant(context, text)
    try:
        return await context.call(audits.find_subject, context.store, text)
    except NotFound:
        meant = await subject_meant(context, text)
        if meant == text:
            raise
        return meant


HANDLERS: dict[type[p.Command], Handler] = {p.EventsTail: tail, p.EventsExport: export, p.Audit: audit}
