"""`doctor`: store, node, agents, disk and tools, each finding with its remedy."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

import trio

from maestro import __version__, config
from maestro.agents import definitions
from maestro.config import Settings
from maestro.model.errors import Invalid, MaestroError, StoreAway, StoreUnsafe, VerificationFailed
from maestro.model.events import LogForked, NewEvent
from maestro.runtime import containment
from maestro.runtime import protocol as p
from maestro.runtime.context import Call
from maestro.runtime.handlers.registering import bind, caller_settings
from maestro.runtime.rows import Row
from maestro.runtime.server import Handler
from maestro.runtime.witness import LINEAGE, MEND, Known, Witness
from maestro.store import ballast, choice, safety, server
from maestro.store.contract import Head
from maestro.store.link import NoPermission
from maestro.store.opening import open_redis
from maestro.workspaces import cleaning
from projections.projector import Projector
from replayers import chain
from replayers.sealed import sealed_of

START = "see that it runs and answers, then try again"
CHECKED = 1000
"""Of so many events, the newest, `doctor` checks the chain."""
WORST = {"ok": 0, "warning": 0, "failed": 4}


async def doctor(call: Call, command: p.Doctor) -> p.Done:
    """Look at everything; exit 0, 5 where the store is at fault, 4 where anything else failed."""
    settings = caller_settings(call)
    if command.accept_loss:
        await _accept_loss(call)
    code = 0
    rows = await _store(call, settings)
    if any(row["status"] == "failed" for row in rows):
        code = 5
    rows += await trio.to_thread.run_sync(lambda: [*_host(settings), *_agents(call, settings)])
    rows += await trio.to_thread.run_sync(lambda: [_row(*told) for told in containment.report()])
    for row in rows:
        await call.item(row)
    return p.Done(exit_code=code or max(WORST[row["status"]] for row in rows))


def _row(check: str, status: str, detail: str, remedy: str = "") -> Row:
    return {"check": check, "status": status, "detail": detail, "remedy": remedy or None}


async def _store(call: Call, settings: Settings) -> list[Row]:
    """The store and its log. One that cannot be asked is a finding too."""
    context = call.context
    chosen = await trio.to_thread.run_sync(choice.choose, settings)
    named = f"{chosen.kind}: {config.redact(chosen.url)} ({chosen.why})"
    try:
        facts = await context.call(_facts, call, settings)
    except MaestroError as error:
        remedy = safety.rights_remedy() if isinstance(error, NoPermission) else error.mend or START
        return [_row("store", "failed", f"{named}: {error.what}", remedy), *_embedded(chosen, settings)]
    rows = [_row("store", "ok", named)]
    for check in safety.checks(facts, chosen.kind):
        status = "ok" if check.ok else "failed" if check.level == "refuse" else "warning"
        rows.append(_row(f"store {check.name}", status, check.detail, "" if check.ok else check.remedy))
    rows += _embedded(chosen, settings)
    return rows if context.storeless else [*rows, await _lineage(call), *await _sealed(call)]


def _facts(call: Call, settings: Settings) -> dict[str, str]:
    """What the server says of itself, also where it was found unsafe. Raises StoreAway, StoreUnsafe."""
    why = call.context.storeless
    if why is None:
        return call.context.store.describe()
    if isinstance(why, StoreAway):
        raise why
    store = open_redis(choice.ensure(settings, choice.choose(settings)), settings.namespace)
    try:
        return store.describe()
    finally:
        store.close()


def _embedded(chosen: choice.Choice, settings: Settings) -> list[Row]:
    rows: list[Row] = []
    if chosen.kind == "embedded":
        disk = ballast.disk_state(settings.home)
        status = "warning" if disk.low else "ok"
        rows.append(_row("store disk", status, f"{disk.free_bytes // 2**20} MiB free", "make room" if disk.low else ""))
        rows += [_row("store incident", "warning", line) for line in server.incidents(settings.home)[-3:]]
    return rows


async def _lineage(call: Call) -> Row:
    """Whether the log still is the one that this node has seen."""
    context = call.context
    try:
        head: Head = await context.call(context.store.log.look)
        await context.call(Witness(context.settings).check, context.store)
        await context.call(context.views.checkpoint)
        found = await context.call(chain.newest, context.store.log, CHECKED)
    except MaestroError as error:
        return _row("log", "failed", error.what, error.mend)
    looked = f"the chain of the last {min(CHECKED, head.seq)} was checked; `maestro replay verify` checks all"
    if found:
        return _row("log", "failed", found.what, "`maestro replay verify` tells all; " + MEND)
    return _row("log", "ok", f"{head.seq} events, chain {head.chain[:12] or '-'}; {looked}")


async def _sealed(call: Call) -> list[Row]:
    """Whether the part of the log that the store does not hold any more is where this node looks for it."""
    store = call.context.store
    sealed = sealed_of(store)

    def look() -> Row | None:
        first = store.log.first()
        if sealed is None or first <= 1:
            return None
        count = len(sealed.way(store.log.entries(first - 1, 1)[0]))
        return _row("segments", "ok", f"{count} hold the events 1 to {first - 1}, in {sealed.folder}")

    try:
        found = await call.context.call(look)
    except MaestroError as error:
        return [_row("segments", "failed", f"{error.where}: {error.what}", error.mend)]
    return [found] if found else []


async def _accept_loss(call: Call) -> None:
    """Make the log whole of what is left of it and append `log.forked`: an operator knows that acknowledged events were
    lost, and goes on.
    """
    context = call.context
    if context.storeless:
        raise context.storeless
    witness = Witness(context.settings)
    is_whole = True
    known = max(witness.known(), Known.of(context.gateway.known), Known.of(await context.call(context.store.log.end)))
    try:
        await context.call(witness.check, context.store)
        await context.call(context.store.log.look)
        await context.call(context.views.checkpoint)
    except (StoreUnsafe, VerificationFailed):
        is_whole = False
    mended = await context.call(context.store.log.mend)
    if is_whole and not mended:
        raise Invalid("the log is whole: there is no loss to accept", "--accept-loss")
    reason = f"accepted by doctor --accept-loss{'; ' if mended else ''}{mended}"
    forked = LogForked(known.seq, known.chain, reason)
    await context.append_promptly([NewEvent(LINEAGE, forked)], call.caller.actor, call.cause)
    witness.forget()
    await context.call(Projector(context.store).rebuild)
    await call.note(f"the loss was accepted{': ' if mended else ''}{mended}", "warn")


def _host(settings: Settings) -> Iterator[Row]:
    yield _row("maestro", "ok", f"{__version__} on Python {platform.python_version()}, {sys.platform}")
    for name, opener in (("home", config.open_home), ("workspace root", config.open_workspace_root)):
        try:
            yield _row(name, "ok", str(opener(settings)))
        except MaestroError as error:
            yield _row(name, "failed", error.what, error.mend)
    warning = cleaning.disk_warning(settings.workspace_root, settings.max_concurrent)
    if warning:
        yield _row("disk", "warning", warning, "free some, or lower MAESTRO_MAX_CONCURRENT")


def _agents(call: Call, settings: Settings) -> Iterator[Row]:
    """Each definition, bound as an assignment would; a built-in one without its program is no fault."""
    for info in definitions.types(settings.agents_dirs):
        name = f"agent {info.slug}"
        if not info.valid:
            yield _row(name, "failed", info.reason, "mend the file, or remove it")
            continue
        try:
            found = bind(call, definitions.load(info.slug, settings.agents_dirs), settings)
            version = f" {found.found_version}" if found.found_version else ""
            yield _row(name, "ok", f"{found.executable}{version}, mode {found.mode or '-'}")
        except MaestroError as error:
            status = "warning" if info.file == definitions.BUILT_IN else "failed"
            yield _row(name, status, error.what, error.mend)


HANDLERS: dict[type[p.Command], Handler] = {p.Doctor: doctor}
