"""What a node sees of itself at each heartbeat: the room on its disks, and whether the store can be trusted.

The store is asked seldom, as it tells a page of facts: every 10 s, and at each heartbeat while it is unsafe. Its safety
is that of the first connection (`store/redis/safety.py`): a setting may be changed while it runs.
"""

from __future__ import annotations

import functools
import time

from maestro.model.errors import MaestroError, StoreAway
from maestro.model.monitoring.disk_room import disk_low
from maestro.model.monitoring.sights import SeenDisk, SeenStore
from maestro.runtime.monitor.checks import disk_of
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import seldom
from maestro.store.embedded import choice
from maestro.store.redis import safety

STORE_EVERY_S = 10.0
ANSWER_S_MAX = 2.0
SILENT_S_MAX = 30.0
DISKS = "disks of the node"


class NodeSight:
    """What a node sees of itself. value: the sample `node:<id>:seen`."""

    def __init__(self, context: Context) -> None:
        self.value: dict[str, str] = {}
        self._context = context
        if context.settings.sources.get("segments_dir", "default") != "default":
            self.value["segments"] = str(context.settings.segments_dir)
        self._low: dict[str, str] = {}
        self._asked_at = 0.0

    async def look(self) -> None:
        """Look at the disks and, where it is time, at the store's safety. Raises StoreAway."""
        await self._look_at_disks()
        seen = self._context.seen_store
        if seen is None or seen.problem or time.monotonic() > self._asked_at + STORE_EVERY_S:
            seen = self._context.seen_store = await self._look_at_store(seen)
        self.value["store"] = seen.problem
        if self._context.settings.archive_url is not None:
            self.value["copies"] = self._context.damaged_copies
            if self._context.archive_reached is not None:
                self.value["archive"] = self._context.archive_reached

    async def _look_at_disks(self) -> None:
        """Look at the disks of the workspace root and of MAESTRO_HOME. One that hangs is told as low."""
        context, settings = self._context, self._context.settings
        since = context.looking.get(DISKS)
        if since is not None:
            waited_s = time.monotonic() - since
            if waited_s > SILENT_S_MAX:
                self.value["disk_low"] = f"a disk of this node does not answer for {SILENT_S_MAX:.0f} s"
            if waited_s > ANSWER_S_MAX:
                return  # no second thread is to hang there
        folders = (str(settings.workspace_root), str(settings.home))
        found = await context.together({DISKS: functools.partial(_disks, context.looking, folders)}, ANSWER_S_MAX)
        for disks in found.values():
            self._low = {
                folder: disk_low(disk, bool(self._low.get(folder))) for folder, disk in zip(folders, disks, strict=True)
            }
            least = min(disks, key=lambda disk: disk.free_bytes)
            self.value |= {
                "disk_free_bytes": str(least.free_bytes),
                "disk_total_bytes": str(least.total_bytes),
                "disk_low": "; ".join(dict.fromkeys(filter(None, self._low.values()))),
            }

    async def _look_at_store(self, before: SeenStore | None) -> SeenStore:
        """Whether the store is safe now. One that does not tell stays unsafe where it was so `before`."""
        context = self._context
        try:
            facts = await context.gateway.ask(context.store.describe)
        except StoreAway:
            raise
        except MaestroError as error:
            seldom.warn("store safety", error.line())
            unknown = SeenStore(note=f"it does not tell whether it is safe: {error.what}", mend=error.mend or "")
            return before if before is not None and before.problem else unknown
        finally:
            self._asked_at = time.monotonic()
        return judged(safety.checks(facts, choice.choose(context.settings).kind))


def judged(found: list[safety.Check]) -> SeenStore:
    """What the findings on a store mean for those who work with it."""
    bad = [check for check in found if not check.ok]
    refused = next((check for check in bad if check.level == "refuse"), None)
    if refused is not None:
        return SeenStore(refused.detail, refused.remedy)
    return SeenStore(note=bad[0].detail, mend=bad[0].remedy) if bad else SeenStore()


def _disks(looking: dict[str, float], folders: tuple[str, ...]) -> list[SeenDisk]:
    looking[DISKS] = time.monotonic()
    try:
        return [disk_of(folder) for folder in folders]
    finally:
        looking.pop(DISKS, None)
