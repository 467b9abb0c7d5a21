"""The identity of a shared archive: a UUID that marks it, and that the log of the namespace names.

The mark is written before the log names it, and the log alone decides which of several counts: no conditional write of
the place is needed. A folder that is not mounted, or another bucket, has no such mark.
"""

from __future__ import annotations

import uuid

import msgspec

from maestro.model.errors import MaestroError, Refused
from maestro.model.events import ArchiveNamed, NewEvent
from maestro.runtime.node.contention import Race
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.snapshots.shared.patience import Patience, waited
from maestro.runtime.snapshots.shared.place import SharedPlace, place_of
from maestro.store.contract import Committed
from maestro.workspaces.objects.contract import insisted

KEY = "archive"
SUBJECT = f"setting:{KEY}"
LOOK_S_MAX = 8.0
START_S_MAX = 3.0
"""A node that starts has its lease for 10 s, and joins when this is over."""
UNREACHED = "unreached"
LACKING = (
    "set MAESTRO_ARCHIVE_URL as on the other nodes, or unset it there too (`maestro node forget N` gives up one that is"
    " gone); then restart the daemon with `maestro shutdown` and `maestro up`"
)
WAY_OUT = (
    "name the archive that the other nodes have with MAESTRO_ARCHIVE_URL, or unset it on all nodes; then restart the"
    " daemon with `maestro shutdown` and `maestro up`"
)


class Standing(msgspec.Struct, frozen=True):
    """How this node stands to the shared archive of its namespace.

    state: `unset` (no URL), `lacking` (no URL, and others have one), `reached`, `another` (one with another UUID, or
    none), `away`. archive: the UUID that it reaches; named: that of the namespace; why: in words, where it is not
    reached; mend: what to do.
    """

    state: str
    archive: str = ""
    named: str = ""
    url: str = ""
    why: str = ""
    mend: str = ""

    @property
    def bad(self) -> bool:
        """Whether this node does not reach the archive that it should have."""
        return self.state in ("lacking", "another", "away")

    @property
    def reach(self) -> str:
        """The UUID of the archive that this node reaches, "" where it has no URL, or `unreached`: what is there is
        away, or nothing there says that it is an archive.
        """
        is_out = self.state == "away" or (self.state == "another" and not self.archive)
        return UNREACHED if is_out else self.archive

    @property
    def trouble(self) -> str:
        """What a user of this node must know, in one line without the remedy; "" for nothing."""
        if self.bad:
            return f"the shared archive{self.url and f' {self.url}'} is out of reach: {self.why}"
        return ""


async def named(context: Context) -> str:
    """The UUID that the log has, "" for none. No restore takes that away."""
    row = await context.row(context.views.setting, KEY)
    return row.value if row is not None else ""


async def standing(context: Context, limit_s: float = LOOK_S_MAX) -> Standing:
    """How this node stands to the shared archive; names one that has no name yet. The heartbeat tells it to others.

    Raises what the store raises.
    """
    found = await _standing(context, limit_s)
    context.archive_reached = found.reach
    return found


async def _standing(context: Context, limit_s: float) -> Standing:
    known = await named(context)
    try:
        place = place_of(context.settings)
    except MaestroError as error:
        return Standing("away", "", known, context.settings.archive_url or "", error.what, error.mend)
    if place is None:
        others = await _having(context, known) if known else []
        if not others:
            return Standing("unset", "", known)
        why = f"MAESTRO_ARCHIVE_URL is not set here, and node {others[0]} has the archive {known}"
        return Standing("lacking", "", known, why=why, mend=LACKING)
    try:
        if not known:
            known = await _name(context, place, limit_s)
        marks = await waited(lambda patience: _marks(place, patience), place.url, limit_s)
    except MaestroError as error:
        if error.exit_code == 5:
            raise
        return Standing("away", "", known, place.url, error.what, error.mend)
    if known in marks:
        return Standing("reached", known, known, place.url)
    found = min(marks, default="")
    why = f"it is the archive {found}, not {known}" if found else f"nothing there says that it is the archive {known}"
    return Standing("another", found, known, place.url, f"{why}, which this namespace has", WAY_OUT)


async def _having(context: Context, known: str) -> list[str]:
    """The other nodes that have the shared archive of the namespace, or should reach one, and were not given up."""
    nodes = await context.rows(context.views.nodes)
    others = [node for node in nodes if node.id != context.node and not node.forgotten]
    return [node.id for node in others if node.archive in (known, UNREACHED)]


async def shared_place(context: Context) -> SharedPlace | None:
    """The shared archive, reached and found to be the namespace's; None where none is set. Raises Refused."""
    found = await standing(context)
    if found.bad:
        raise Refused(f"the shared archive is out of reach: {found.why}", found.url, found.mend)
    return place_of(context.settings)


async def name_behind_load(context: Context, actor: str, cause: str) -> None:
    """Name the archive that is reached here, or none, in a log that was loaded: the one that it names is of the nodes
    that it came from, and need not be within reach. Raises Refused where the one that is set here is away.
    """
    row = await context.row(context.views.setting, KEY)
    if row is None or not row.value:
        return
    place = place_of(context.settings)
    marks = [] if place is None else await waited(lambda patience: _marks(place, patience), place.url, LOOK_S_MAX)
    if row.value in marks:
        return
    named_here = ArchiveNamed(min(marks, default=""), "" if place is None else place.url)
    await context.append([NewEvent(SUBJECT, named_here)], actor, cause)


async def reach_of(context: Context) -> str:
    """The UUID of the shared archive that this node reaches, as `NodeJoined` has it; `unreached` where it should."""
    try:
        found = await standing(context, START_S_MAX)
    except MaestroError as error:
        log.warning("the shared archive: %s", error.line())
        return UNREACHED
    if found.trouble:
        log.warning("%s; %s", found.trouble, found.mend)
    return found.reach


def told(archive: str, known: str) -> str:
    """What a node's archive is to the namespace, in words. known: the UUID that the namespace has."""
    if not archive:
        return "own"
    return archive if archive == UNREACHED else "shared" if archive == known else "another"


async def _name(context: Context, place: SharedPlace, limit_s: float) -> str:
    """Give the namespace's archive a name: that of a mark that is there, or a new one; the log decides."""

    fresh: list[str] = []

    def mark(patience: Patience) -> str:
        if marks := _marks(place, patience):
            return min(marks)  # of a log that was flushed since, or of a node that is naming it now
        fresh.append(str(uuid.uuid4()))
        patience.allow(0)
        place.objects.put(f"{place.marks}/{fresh[0]}", f"{place.namespace}\n".encode())
        return fresh[0]

    wanted = await waited(mark, place.url, limit_s)
    race = Race()
    while True:
        row = await context.row(context.views.setting, KEY)
        known = row.value if row is not None else ""
        if known:
            break
        version = max(0 if row is None else row.version, await context.floor())
        event = NewEvent(SUBJECT, ArchiveNamed(wanted, place.url), version)
        result = await context.append([event], f"node:{context.node}", f"archive:{wanted}")
        if isinstance(result, Committed):
            return wanted
        await race.lost()
    if known != wanted and fresh:
        await waited(lambda patience: _unmark(place, fresh[0], patience), place.url, limit_s)
    return known


def _unmark(place: SharedPlace, mark: str, patience: Patience) -> None:
    patience.allow(0)
    place.objects.delete(f"{place.marks}/{mark}")


def _marks(place: SharedPlace, patience: Patience) -> list[str]:
    def look() -> list[str]:
        patience.allow(0)
        return sorted(place.objects.sizes(place.marks))

    return insisted(look)
