"""The handler of `doctor`: store, node, agent types, disk and tools, each finding with its remedy."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator

import trio

from maestro import __version__, config
from maestro.agents import definitions, machine
from maestro.config import Settings
from maestro.model.errors import Invalid, MaestroError, StoreAway, StoreUnsafe, VerificationFailed
from maestro.model.events import LogForked, NewEvent
from maestro.runtime.handlers.diagnosis import namespace
from maestro.runtime.monitor.presence import present
from maestro.runtime.monitor.webhooks import undelivered, way_out, without
from maestro.runtime.node import daemon_lock
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.node.known_head import LINEAGE, MEND, KnownEntry, KnownHead
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision import containment
from maestro.runtime.provision.type_binding import bind, caller_settings
from maestro.runtime.restores.crash_recovery import findings
from maestro.runtime.restores.remains import remains, remedy
from maestro.runtime.server.rows import Row
from maestro.runtime.snapshots import scrub
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.shared import copy_scrub
from maestro.runtime.snapshots.shared.identity import standing
from maestro.store.contract import Head
from maestro.store.embedded import ballast, choice, data_files, embedded_server
from maestro.store.redis import safety
from maestro.store.redis.redis_store import open_redis
from maestro.workspaces import cleaning
from projections.projector import Projector
from replayers import chain
from replayers.sealed import sealed_of

START = "see that it runs and answers, then try again"
CHECKED = 1000
"""How many of the newest events `doctor` checks the chain of."""
INCIDENTS_MAX = 3
WORST = {"ok": 0, "warning": 0, "failed": 4}


async def doctor(call: Call, command: p.Doctor) -> p.Done:
    """Examine the installation; exit 0, 5 where the store is at fault, 4 where anything else is."""
    settings = caller_settings(call)
    if command.accept_loss:
        await _accept_loss(call)
    rows = await _store(call, settings)
    code = 5 if any(row["status"] == "failed" for row in rows) else 0
    is_away = any(row["check"] == "store" and row["status"] == "failed" for row in rows)
    is_away = is_away or call.context.storeless is not None  # else each finding would wait for it anew
    is_here = call.context.daemon is not None
    rows += await trio.to_thread.run_sync(lambda: [*_host(settings, is_here), *_agent_types(call, settings)])
    rows += await trio.to_thread.run_sync(lambda: [_row(*told) for told in containment.report()])
    rows.append(await trio.to_thread.run_sync(_snapshots, settings))
    if not is_away:
        rows += await _shared(call)
        rows += [_row(*told) for told in await namespace.findings(call.context)]
    rows += await _restores(call, is_away)
    rows += await _monitors(call, is_away)
    for row in rows:
        await call.item(row)
    return p.Done(exit_code=code or max(WORST[row["status"]] for row in rows))


def _row(check: str, status: str, detail: str, remedy: str = "") -> Row:
    """A finding. What is well has no remedy, though something could be added to it."""
    return {"check": check, "status": status, "detail": detail, "remedy": (status != "ok" and remedy) or None}


async def _store(call: Call, settings: Settings) -> list[Row]:
    """The findings on the store and its log. A store that cannot be asked is a finding too."""
    context = call.context
    chosen = await trio.to_thread.run_sync(choice.choose, settings)
    named = f"{chosen.kind}: {config.redact(chosen.url)} ({chosen.why})"
    try:
        facts = await context.call(_facts, call, settings)
    except MaestroError as error:
        return [_row("store", "failed", f"{named}: {error.what}", error.mend or START), *_embedded(chosen, settings)]
    rows = [_row("store", "ok", named)]
    for check in safety.checks(facts, chosen.kind):
        status = "ok" if check.ok else "failed" if check.level == "refuse" else "warning"
        rows.append(_row(f"store {check.name}", status, check.detail, "" if check.ok else check.remedy))
    rows += [*_embedded(chosen, settings), *_files(chosen, settings)]
    return rows if context.storeless else [*rows, await _lineage(call), *await _sealed(call)]


def _facts(call: Call, settings: Settings) -> dict[str, str]:
    """The facts that the store's server tells of itself, also where it is unsafe. Raises StoreAway, StoreUnsafe."""
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
        incidents = embedded_server.incidents(settings.home)
        earlier = f" (and {len(incidents) - INCIDENTS_MAX} earlier ones, in {settings.home}/store/incidents)"
        for at, line in enumerate(incidents[-INCIDENTS_MAX:]):
            more = earlier if at == 0 and len(incidents) > INCIDENTS_MAX else ""
            rows.append(_row("store incident", "warning", line + more))
    return rows


def _files(chosen: choice.Choice, settings: Settings) -> Iterator[Row]:
    """The finding on the embedded store's files: whether those that it writes are still there."""
    data = embedded_server.server_paths(settings.home).data
    gone = data_files.missing(data) if chosen.kind == "embedded" else ""
    if gone:
        mend = data_files.MEND if gone == data.name else "maestro up: the daemon has all of it written again"
        yield _row("store files", "failed", f"{gone} was removed under the store, below {data.parent}", mend)


async def _lineage(call: Call) -> Row:
    """The finding on the log: whether it is the one that this node has seen, and its newest events are whole."""
    context = call.context
    try:
        head: Head = await context.call(context.store.log.look)
        await context.call(KnownHead(context.settings).check, context.store)
        await context.call(context.views.checkpoint)
        found = await context.call(chain.check_newest, context.store.log, CHECKED)
    except MaestroError as error:
        return _row("log", "failed", error.what, error.mend)
    looked = f"the chain of the last {min(CHECKED, head.seq)} was checked; `maestro replay verify` checks all"
    if found:
        return _row("log", "failed", found.what, "`maestro replay verify` tells all; " + MEND)
    return _row("log", "ok", f"{head.seq} events, chain {head.chain[:12] or '-'}; {looked}")


async def _sealed(call: Call) -> list[Row]:
    """The finding on sealed segments: whether events that the store no longer holds are where this node
    looks for them.
    """
    store = call.context.store
    sealed = sealed_of(store)

    def look() -> Row | None:
        first = store.log.first()
        if sealed is None or first <= 1:
            return None
        count = len(sealed.segments_before(store.log.entries(first - 1, 1)[0]))
        return _row("segments", "ok", f"{count} hold the events 1 to {first - 1}, in {sealed.folder}")

    try:
        found = await call.context.call(look)
    except MaestroError as error:
        return [_row("segments", "failed", f"{error.where}: {error.what}", error.mend)]
    return [found] if found else []


async def _shared(call: Call) -> list[Row]:
    """The finding on the shared archive, where there is one."""
    try:
        found = await standing(call.context)
    except MaestroError as error:
        return [_row("shared archive", "warning", error.line(), error.mend)]
    if found.trouble:
        return [_row("shared archive", "failed" if found.bad else "warning", found.trouble, found.mend)]
    if found.state == "unset":
        return []
    about = f"{found.url}, archive {found.archive}"
    damaged = await copy_scrub.damage(call.context, [call.context.node])
    if damaged:
        return [_row("shared archive", "failed", f"{about}; damaged: {damaged}", copy_scrub.REMEDY)]
    return [_row("shared archive", "ok", about)]


async def _restores(call: Call, is_away: bool) -> list[Row]:
    """The findings on restores that somebody has to end. is_away: the store cannot be asked for its part of them."""
    try:
        found = await findings(call.context, is_away)
        return [_row(check, "failed", detail, remedy) for check, detail, remedy in found]
    except MaestroError as error:  # what is wrong with the log is told by a finding of its own
        return [_row("restore", "warning", error.line(), error.mend)]


async def _monitors(call: Call, is_away: bool) -> list[Row]:
    """The finding on monitors: whether one runs in the namespace; a warning where agents work that nobody watches.

    is_away: the store is, which alone knows of them.
    """
    context = call.context
    unknown = [_row("monitor", "warning", "not known: the store alone could tell", "see to the store first")]
    if is_away:
        return unknown
    try:
        nodes = [node.id for node in await context.rows(context.views.nodes)]
        found = await present(context, nodes, await context.now())
        is_used = bool(found) or bool(await context.agents())
        webhooks = (await undelivered(context, 1))["endpoints"]
    except MaestroError:  # what is wrong with the store is told by a finding of its own
        return unknown
    rows = [
        _row("webhook", "warning", f"{row['endpoint']} {without(row)}", way_out(row))
        for row in webhooks
        if row["state"] == "unattended" or (row["state"] == "disabled" and row["undelivered"])
    ]
    if found:
        count = f"{len(found)} monitor{'s run' if len(found) > 1 else ' runs'}"
        return [*rows, _row("monitor", "ok", f"{count}, on {', '.join(dict.fromkeys(each.node for each in found))}")]
    told = "none runs: nobody is shown, or sent, what the daemon raises as alerts"
    remedy = "`maestro monitor start`, as a service; `maestro monitor alerts` lists what was raised"
    return [*rows, _row("monitor", "warning", told, remedy) if is_used else _row("monitor", "ok", "none runs")]


async def _accept_loss(call: Call) -> None:
    """Accept that acknowledged events were lost: mend the log, and append `log.forked`.

    Raises Invalid where the log is whole, and what the store raises.
    """
    context = call.context
    if context.storeless:
        raise context.storeless
    known_head = KnownHead(context.settings)
    is_whole = True
    end = await context.call(context.store.log.end)
    known = max(known_head.known(), KnownEntry.of(context.gateway.known), KnownEntry.of(end))
    try:
        await context.call(known_head.check, context.store)
        await context.call(context.store.log.look)
        await context.call(context.views.checkpoint)
    except (StoreUnsafe, VerificationFailed):
        is_whole = False
    mended = await context.call(context.store.log.mend)
    if is_whole and not mended:
        raise Invalid("the log is whole: there is no loss to accept", "--accept-loss")
    reason = f"accepted by doctor --accept-loss{'; ' if mended else ''}{mended}"
    forked = LogForked(known.seq, known.chain, reason)
    await context.submit([NewEvent(LINEAGE, forked)], call.caller.actor, call.cause)
    known_head.forget()
    await context.call(
        known_head.check, context.store
    )  # so that it has met this acceptance, which is for this loss only
    await context.call(Projector(context.store).rebuild)
    await call.note(f"the loss was accepted{': ' if mended else ''}{mended}", "warn")


def _daemon(settings: Settings, is_here: bool) -> Row:
    """The finding on this node's daemon: the one that answers, or what its lock says of it. is_here: it is this
    process.
    """
    path = str(config.socket_path(settings.home, "daemon.sock"))
    if is_here:
        return _row("daemon", "ok", f"process {os.getpid()} listens at {path}")
    held = daemon_lock.holder(settings.home)
    if held is None:
        return _row("daemon", "ok", "none runs; what needs one starts it")
    if held.state in ("starting", "ending"):
        return _row("daemon", "warning", f"{held.name} is {held.state}", "try again in a moment")
    return _row("daemon", "failed", f"{held.name} lives, but nobody answers at {path}", held.remedy)


def _host(settings: Settings, is_here: bool) -> Iterator[Row]:
    yield _row("maestro", "ok", f"{__version__} on Python {platform.python_version()}, {sys.platform}")
    yield _daemon(settings, is_here)
    for name, opener in (("home", config.open_home), ("workspace root", config.open_workspace_root)):
        try:
            yield _row(name, "ok", str(opener(settings)))
        except MaestroError as error:
            yield _row(name, "failed", error.what, error.mend)
    for each in remains(settings.home):
        yield _row("left over", "warning", f"{each.path}: {each.why}", remedy(each))
    warning = cleaning.disk_warning(settings.workspace_root, settings.max_concurrent)
    if warning:
        yield _row("disk", "warning", warning, "free some, or lower MAESTRO_MAX_CONCURRENT")


def _snapshots(settings: Settings) -> Row:
    """The finding on the archive: whether it is whole, as far as is known, and how long ago it was read."""
    try:
        return _row("snapshots", *scrub.standing(SnapshotFolders(settings.home)))
    except (MaestroError, OSError) as error:
        mend = error.mend if isinstance(error, MaestroError) else ""
        return _row("snapshots", "failed", str(error), mend or "mend the folder that it names")


def _agent_types(call: Call, settings: Settings) -> Iterator[Row]:
    """The findings on agent types, each bound as an assignment would; a built-in one without its program is no fault.

    What is wrong with an agent, `agent health` tells.
    """
    for info in definitions.types(settings.agents_dirs):
        name = f"agent {info.slug}"
        if not info.valid:
            yield _row(name, "failed", info.reason, "mend the file, or remove it")
            continue
        try:
            found = bind(call, definitions.load(info.slug, settings.agents_dirs), settings)
            version = f" {found.found_version}" if found.found_version else ""
            yield _row(name, "ok", f"{found.executable}{version}, mode {found.mode or '-'}")
            for lacking in machine.unmet(found, call.context.environment):
                what, _, mend = lacking.partition("; ")
                yield _row(name, "warning", what, mend)
        except MaestroError as error:
            status = "warning" if info.file == definitions.BUILT_IN else "failed"
            yield _row(name, status, error.what, error.mend)


HANDLERS: dict[type[p.Command], Handler] = {p.Doctor: doctor}
