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
from maestro.model.events import LogForked
from maestro.runtime.node.daemon_log import seldom
from maestro.store.contract import Head, Store
from maestro.store.embedded import choice

LINEAGE = "log:lineage"
MEND = "find out what the store lost, then `maestro doctor --accept-loss`"


class KnownEntry(msgspec.Struct, frozen=True, order=True):
    """An entry of the log that was known: its position and its chain. The default stands for none."""

    seq: int = 0
    chain: str = ""

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

    def known(self) -> KnownEntry:
        """The newest known entry; the default where there is none, or its file cannot be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=KnownEntry)
        except (OSError, msgspec.DecodeError):
            return KnownEntry()

    def note(self, head: Head) -> None:
        """Keep the entry of this head where it is newer than the known one. Raises OSError."""
        if head.seq <= self.known().seq:
            return
        replace(self.path, msgspec.json.encode(KnownEntry.of(head)), durable=False, shared=True)

    def follow(self, store: Store) -> None:
        """Keep what this process knows of the store's log. A full disk costs a warning: what is kept is true."""
        try:
            self.note(store.log.known())
        except OSError as error:
            seldom.warn("known head", f"{self.path}: {error.strerror}; it is not kept there for now")

    def forget(self) -> None:
        """Know nothing any more: the log was erased on purpose, or its loss was accepted."""
        self.path.unlink(missing_ok=True)

    def check(self, store: Store) -> None:
        """Raise LineageBroken unless the known entry is in the log, or an operator accepted its loss since."""
        known = self.known()
        if not known.seq:
            return
        head = store.log.head()
        found = store.log.entries(known.seq - 1, 1)
        # An entry behind it: it was trimmed, which happens to what is sealed.
        whole = head.seq >= known.seq and not (found and found[0].seq == known.seq and found[0].chain != known.chain)
        if whole:
            return
        if self._is_accepted(store, known):
            self.forget()
            return
        what = f"position {known.seq} holds another event" if head.seq >= known.seq else f"the log ends at {head.seq}"
        raise LineageBroken(f"{what}, but {known.seq} was known to this installation", str(self.path), MEND)

    def _is_accepted(self, store: Store, known: KnownEntry) -> bool:
        forked = store.log.event(version) if (version := store.log.version(LINEAGE)) else None
        return forked is not None and isinstance(forked.fact, LogForked) and forked.fact.known_seq >= known.seq
