"""The known head: the newest entry of the log that this installation knew, kept in MAESTRO_HOME.

A process that runs notices by itself when the log loses its tail or becomes another one. A process that starts later
compares the log with the known head. Its file is written often but not synced: it has to outlive a daemon, not the
machine.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from maestro.config import Settings
from maestro.durable import replace
from maestro.folders import private_folder
from maestro.model.errors import LineageBroken
from maestro.model.events import Event, LogForked
from maestro.runtime.node.daemon_log import seldom
from maestro.store.contract import Head, Store
from maestro.store.embedded import choice

LINEAGE = "log:lineage"
MEND = "find out what the store lost, then `maestro doctor --accept-loss`"


class KnownEntry(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """An entry of the log that was known: its position and its chain. The default stands for none.

    fork: names the newest `log.forked` that this installation has met: that one accepts no loss of what came after it.
    """

    seq: int = 0
    chain: str = ""
    fork: str = ""

    @classmethod
    def of(cls, head: Head) -> KnownEntry:
        """The entry that a head of the log stands on."""
        return cls(head.seq, head.chain)


class KnownHead:
    """The known head of one namespace at one store. Raises as `private_folder` where MAESTRO_HOME cannot be written."""

    def __init__(self, settings: Settings) -> None:
        name = f"{choice.choose(settings).url}\n{settings.namespace}"
        self.home = settings.home
        folder = private_folder(settings.home / "known", "MAESTRO_HOME", tighten=True)
        self.path: Path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
        self._fork: str | None = None

    def known(self) -> KnownEntry:
        """The newest known entry; the default where there is none, or its file cannot be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=KnownEntry)
        except (OSError, msgspec.DecodeError):
            return KnownEntry()

    def note(self, head: Head) -> None:
        """Keep the entry of this head where it is newer than the known one. A full disk costs a warning.

        Not where another process has met a newer log meanwhile: what this one knows is of a log that is gone.
        """
        known = self.known()
        if self._fork is None:
            self._fork = known.fork
        if head.seq > known.seq and known.fork == self._fork:
            self._keep(KnownEntry(head.seq, head.chain, known.fork))

    def follow(self, store: Store) -> None:
        """Keep what this process knows of the store's log."""
        self.note(store.log.known())

    def forget(self) -> None:
        """Know nothing any more: the log was erased on purpose, or its loss was accepted."""
        self.path.unlink(missing_ok=True)

    def check(self, store: Store) -> None:
        """Raise LineageBroken unless the known entry is in the log, or somebody accepted its loss since, or erased it
        on purpose.
        """
        known = self.known()
        self._fork = known.fork
        at = store.log.version(LINEAGE)
        is_whole = self._is_whole(store, known)
        if is_whole and (not at or known.fork.startswith(f"{at}:")):
            return
        fork = _fork(store, at)
        named = f"{at}:" if fork is None else f"{at}:{fork.at}:{fork.cause}"  # as no other one in any history
        if is_whole:
            self._keep(KnownEntry(known.seq, known.chain, named))
            return
        if fork is not None and named != known.fork and (_is_erased(fork) or _known_seq(fork) >= known.seq):
            self._keep(KnownEntry(fork=named))
            return
        last = store.log.head().seq
        what = f"position {known.seq} holds another event" if last >= known.seq else f"the log ends at {last}"
        raise LineageBroken(f"{what}, but {known.seq} was known to this installation", str(self.path), MEND)

    def _is_whole(self, store: Store, known: KnownEntry) -> bool:
        if not known.seq:
            return True
        head = store.log.head()
        found = store.log.entries(known.seq - 1, 1)
        # An entry behind it: it was trimmed, which happens to what is sealed.
        return head.seq >= known.seq and not (found and found[0].seq == known.seq and found[0].chain != known.chain)

    def _keep(self, known: KnownEntry) -> None:
        """Write the file. Where the disk is full what it had is kept, which is true as well."""
        self._fork = known.fork
        try:
            replace(self.path, msgspec.json.encode(known), durable=False, shared=True)
        except OSError as error:
            seldom.warn("known head", f"{self.path}: {error.strerror}; it is not kept there for now")


def erased(store: Store, reason: str) -> LogForked:
    """What the log that follows one that is erased on purpose has to say, so that no node takes that for a loss. Asked
    for before it is erased. Blocks.
    """
    head = store.log.head()
    fork = _fork(store, store.log.version(LINEAGE))
    return LogForked(max(head.seq, 0 if fork is None else _known_seq(fork)), head.chain, reason, erased=True)


def _fork(store: Store, at: int) -> Event | None:
    """The `log.forked` at a position, None where there is none. at: the version of `LINEAGE`, or the floor."""
    event = store.log.event(at) if at else None
    return event if event is not None and isinstance(event.fact, LogForked) else None


def _is_erased(fork: Event) -> bool:
    return isinstance(fork.fact, LogForked) and fork.fact.erased


def _known_seq(fork: Event) -> int:
    return fork.fact.known_seq if isinstance(fork.fact, LogForked) else 0
