"""The scrub of the archive: it reads packs again to find damage, in the daemon at a limited rate, or all when asked.

A daemon goes on where the one before it ended, and leaves the disk to snapshots and restores while there are any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import trio

from maestro.model.errors import MaestroError, Refused
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.server.rows import Row
from maestro.runtime.snapshots.amounts import size
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.progress import ProgressReport
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.read.damage import Damage
from maestro.workspaces.archive.read.scrub import AGE_S_MAX

BURST = 8
"""How many times faster than it must be it reads while it does."""
LOOK_EVERY_S = 1.0
NAMED_MAX = 3
REMEDY = (
    "take a snapshot: it keeps anew what is still in the workspaces; put a copy of the pack back and run `maestro state"
    " verify --all`; `maestro state restore ID --skip-failed` brings back what is whole; to give a snapshot up, remove"
    " its file in {manifests}"
)


class _Yielded(Exception):
    """A snapshot or a restore needs the disk now."""


async def go_on(context: Context, seconds: float) -> None:
    """Scrub as many bytes of the archive as are due in so many seconds. Raises as `Archive`."""
    folders = SnapshotFolders(context.settings.home)

    def work() -> None:
        if not folders.is_there:
            return
        archive = folders.archive()
        rate = archive.scrub_rate()
        try:
            done = archive.scrub(int(rate * seconds), _paced(rate * BURST, folders))
        except (_Yielded, Refused):
            return
        if done.packs and not archive.scrub_due():
            archive.look_for_damage()
        if done.damaged:
            log.warning("the snapshot store is damaged in %d places: %s", done.damaged, _told(archive.damaged()))

    await trio.to_thread.run_sync(work)


def _paced(rate: float, folders: SnapshotFolders) -> Callable[[int], None]:
    """A callback for the scrub that sleeps to keep it to `rate` bytes a second.

    The callback raises `_Yielded` while a snapshot or a restore is under way.
    """
    began = looked_at = time.monotonic()
    total = 0

    def pause(count: int) -> None:
        nonlocal total, looked_at
        trio.from_thread.check_cancelled()
        total += count
        time.sleep(min(1.0, max(0.0, began + total / rate - time.monotonic())))
        if time.monotonic() - looked_at >= LOOK_EVERY_S:
            looked_at = time.monotonic()
            if not folders.is_free():
                raise _Yielded

    return pause


async def read_all(call: Call) -> Row:
    """Scrub the whole archive at once; returns {ok, packs, bytes, quarantined, released, damaged}.

    Raises as `Archive`, and Refused.
    """
    folders = SnapshotFolders(call.context.settings.home)
    report = ProgressReport(call.note, "verifying")

    def work() -> dict[str, Any]:
        archive = folders.archive()
        total, read = archive.scrub_age().bytes, 0

        def count(some: int) -> None:
            nonlocal read
            read += some
            report.written(min(read, total), total)

        done = archive.scrub(None, count)
        damaged = archive.look_for_damage() | archive.damaged()
        told = [{"snapshot": name, "files": one.files, "why": one.why} for name, one in sorted(damaged.items())]
        return {
            "ok": not told,
            "packs": done.packs,
            "bytes": done.bytes,
            "quarantined": done.damaged,
            "released": done.released,
            "damaged": told,
        }

    return await trio.to_thread.run_sync(work)


async def known_damage(folders: SnapshotFolders) -> dict[str, Damage]:
    """The snapshots that are known to be damaged; none, with a warning in the log, where the archive cannot be read."""
    try:
        return await trio.to_thread.run_sync(folders.damaged)
    except MaestroError as error:
        log.warning("whether snapshots are damaged cannot be said: %s", error.line())
        return {}


async def tell_healed(call: Call, folders: SnapshotFolders, before: dict[str, Damage]) -> None:
    """Tell the user which of the damaged snapshots are whole again, as the files they lacked have been
    archived anew.
    """
    if not before:
        return
    after = await known_damage(folders)
    for name in sorted(before.keys() - after.keys()):
        await call.note(f"snapshot {name} was damaged, and is whole again: what it lacked has been kept anew")
    for name in sorted(after):
        await call.note(f"snapshot {name} is damaged still: {after[name].why}", "warn")


def standing(folders: SnapshotFolders) -> tuple[str, str, str]:
    """The state of the archive for `doctor`: status, detail and remedy. Blocks. Raises as `Archive`."""
    if not folders.is_there:
        return "ok", "none have been taken yet", ""
    archive = folders.archive()
    age, damaged = archive.scrub_age(), archive.damaged()
    read = f"{age.packs} packs with {size(age.bytes)}, {_age(age.oldest_s, age.never, age.packs)}"
    if damaged:
        remedy = REMEDY.format(manifests=folders.root / "manifests")
        return "warning", f"{len(damaged)} of {_count(archive)} are damaged: {_told(damaged)}; {read}", remedy
    if age.oldest_s > AGE_S_MAX:
        return "warning", read, "maestro state verify --all reads all of it now; a daemon that runs does so by itself"
    return "ok", read, ""


def _count(archive: Archive) -> int:
    return len(archive.snapshots())


def _age(oldest_s: float, never: int, packs: int) -> str:
    hours = oldest_s / 3600
    ago = f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours" if hours >= 1 else "less than an hour"
    if packs and never == packs:
        return f"never read since they were written (the oldest {ago} ago)"
    new = f", {never} of them never since they were written" if never else ""
    within = "hour" if ago == "less than an hour" else ago
    return f"each read or written within the last {within}{new}"


def _told(damaged: dict[str, Damage]) -> str:
    named = [f"{name} ({one.why})" for name, one in sorted(damaged.items())[:NAMED_MAX]]
    more = f", and {len(damaged) - NAMED_MAX} more" if len(damaged) > NAMED_MAX else ""
    return ", ".join(named) + more if named else "no snapshot needs what is lost"
