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

SUBJECT = "setting:archive"
LOOK_S_MAX = 8.0
START_S_MAX = 3.0
"""A node that starts has its lease for 10 s, and joins when this is over."""
UNREACHED = "unreached"
WAY_OUT = (
    "name the archive that the other nodes have with MAESTRO_ARCHIVE_URL, or unset it on all nodes; then restart the"
    " daemon with `maestro shutdown` and `maestro up`"
)


class Standing(msgspec.Struct, frozen=True):
    """How this node stands to the shared archive of its namespace.

    state: `unset` (no URL), `reached`, `another` (one with another UUID, or none), `away`. archive: the UUID that it
    reaches; named: that of the namespace; why: in words, where it is not reached; mend: what to do.
    """

    state: str
    archive: str = ""
    named: str = ""
    url: str = ""
    why: str = ""
    mend: str = ""

    @property
    def bad(self) -> bool:
        """Whether a URL is set, and what it names cannot be used."""
        return self.state in ("another", "away")

    @property
    def trouble(self) -> str:
        """What a user of this node must know, in one line without the remedy; "" for nothing."""
        if self.bad:
            return f"the shared archive {self.url} is out of reach: {self.why}"
        if self.state == "unset" and self.named:
            return f"the namespace has a shared archive, {self.named}, and this node has its own alone"
        return ""


async def named(context: Context) -> str:
    """The UUID that the log has, "" for none. No restore takes that away."""

    def read() -> str:
        log = context.store.log
        event = log.event(log.versions([SUBJECT]).get(SUBJECT, 0))
        return event.fact.archive if event is not None and isinstance(event.fact, ArchiveNamed) else ""

    return await context.call(read)


async def standing(context: Context, limit_s: float = LOOK_S_MAX) -> Standing:
    """How this node stands to the shared archive; names one that has no name yet. Raises what the store raises."""
    known = await named(context)
    try:
        place = place_of(context.settings)
    except MaestroError as error:
        return Standing("away", "", known, context.settings.archive_url or "", error.what, error.mend)
    if place is None:
        return Standing("unset", "", known, mend=WAY_OUT)
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


async def shared_place(context: Context) -> SharedPlace | None:
    """The shared archive, reached and found to be the namespace's; None where none is set. Raises Refused."""
    found = await standing(context)
    if found.bad:
        raise Refused(f"the shared archive is out of reach: {found.why}", found.url, found.mend)
    return place_of(context.settings)


async def reach_of(context: Context) -> str:
    """The UUID of the shared archive that this node reaches, as `NodeJoined` has it; `unreached` where it should."""
    try:
        found = await standing(context, START_S_MAX)
    except MaestroError as error:
        log.warning("the shared archive: %s", error.line())
        return UNREACHED
    if found.trouble:
        log.warning("%s; %s", found.trouble, found.mend)
    return UNREACHED if found.state == "away" or (found.bad and not found.archive) else found.archive


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
    while not (known := await named(context)):
        floor = await context.floor()
        event = NewEvent(SUBJECT, ArchiveNamed(wanted, place.url), floor)
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
