"""Checks the log against itself: positions, times, the hash chain, and the links between a subject's events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import msgspec

from maestro.model.errors import LineageBroken, VerificationFailed
from maestro.model.events import Event, LogSealed, RestoreDone
from maestro.store.codec import chain_of, event_of
from maestro.store.contract import Entry, LogStore
from maestro.store.keys import FLOOR, HORIZON, may_be_forgotten
from replayers.sealed import Segments
from replayers.sealer import check

CHUNK = 1000


class Difference(msgspec.Struct, frozen=True):
    """A finding: something differs from what it must be. position: of the event; what: in words."""

    position: int
    what: str


class CheckedReader:
    """Reads entries and checks the hash chain of each, for commands that show events. Costs a SHA-1 per entry.

    found: the first entry that was altered, or that does not continue the one before it.
    """

    def __init__(self, log: LogStore) -> None:
        self.found: Difference | None = None
        self._log = log
        self._last: Entry | None = None

    def entries(self, after: int, count: int) -> list[Entry]:
        """As `LogStore.entries`. Also reads the entry before them, unless it is the last one that was read."""
        last = self._last if self._last and self._last.seq == after else None
        if last or after < 1:
            found = self._log.entries(after, count)
        else:
            found = self._log.entries(after - 1, count + 1)
            if found and found[0].seq == after:
                last = found.pop(0)
            else:
                del found[count:]
        self._check(last, found, after)
        self._last = found[-1] if found else last
        return found

    def event(self, seq: int) -> Event | None:
        """The event at a position; None where there is none."""
        found = self.entries(seq - 1, 1) if seq > 0 else []
        return event_of(found[0]) if found and found[0].seq == seq else None

    def _check(self, before: Entry | None, entries: Iterable[Entry], after: int) -> None:
        chain = before.chain if before else "" if after < 1 else None
        for entry in entries:
            if self.found is not None:
                return
            if entry.seq != after + 1:
                self.found = Difference(after + 1, f"events {after + 1} to {entry.seq - 1} are missing")
            elif chain is not None and chain_of(chain, entry) != entry.chain:
                self.found = Difference(entry.seq, f"event {entry.seq}, or the chain before it, was altered")
            after, chain = entry.seq, entry.chain

    def warning(self) -> str:
        """The finding as one line, for a user who was shown the events."""
        what = self.found.what if self.found else "nothing is wrong"
        return f"log: {what}; what is shown is what the store holds, `maestro replay verify` tells all that is wrong"


def check_newest(log: LogStore, count: int) -> Difference | None:
    """What is wrong with the newest `count` entries or the versions of their subjects; None where nothing is."""
    reading = CheckedReader(log)
    entries = reading.entries(max(0, log.head().seq - count), count)
    if reading.found or not entries:
        return reading.found
    last = {entry.subject.decode("utf-8", "replace"): entry.seq for entry in entries}
    held = log.versions([*last, HORIZON])
    floor = held.get(FLOOR, 0)
    for subject, seq in last.items():
        forgotten = subject not in held and seq <= held.get(HORIZON, 0) and may_be_forgotten(subject)
        if held.get(subject, floor) < max(seq, floor) and not forgotten:
            return Difference(seq, f"the version of {subject!r} is {held.get(subject)} in the store, not {seq}")
    return None


class ChainCheck:
    """One checking pass over the log.

    seq: position reached.
    found: what is wrong up to there.
    sealed: the `log.sealed` events seen.
    """

    def __init__(self, log: LogStore) -> None:
        self.head = log.end()
        self.seq = 0
        self.found: list[Difference] = []
        self.sealed: list[LogSealed] = []
        self._log = log
        self._chain = ""
        self._at = 0
        self._versions: dict[bytes, int] = {}
        self._floor = 0
        self._restoring: Entry | None = None

    def events(self) -> Iterator[list[Event]]:
        """The events in lists; each entry of a list is checked before the list is yielded."""
        while self.seq < self.head.seq:
            entries = self._entries(CHUNK)
            events: list[Event] = []
            for entry in entries:
                event = event_of(entry)
                self._check(entry, event)
                events.append(event)
            if not entries:
                break
            yield events
        if self.seq < self.head.seq:
            self._tell(self.seq + 1, f"the log should go on to {self.head.seq}")
        elif self._chain != self.head.chain:
            self._tell(self.seq, "the chain that the log says it ends with differs")

    def _entries(self, count: int) -> list[Entry]:
        """The next entries; an undecodable entry, or one in a damaged segment, ends the pass."""
        count = min(count, self.head.seq - self.seq)
        try:
            return self._log.entries(self.seq, count)
        except LineageBroken as broken:
            if count > 1:
                return self._entries(count // 2)
            self._tell(self.seq + 1, broken.what)
            return []
        except VerificationFailed as failed:
            self._tell(self.seq + 1, failed.line())
            return []

    def _check(self, entry: Entry, event: Event) -> None:
        if entry.seq != self.seq + 1:
            self._tell(self.seq + 1, f"events {self.seq + 1} to {entry.seq - 1} are missing")
        if chain_of(self._chain, entry) != entry.chain:
            self._tell(entry.seq, "the event, or the chain before it, was altered: its chain differs")
        if entry.at < self._at:
            self._tell(entry.seq, f"its time {entry.at} is before that of the event before it, {self._at}")
        self._check_link(entry, event)
        self.seq, self._chain, self._at = entry.seq, entry.chain, entry.at

    def _check_link(self, entry: Entry, event: Event) -> None:
        """Check `prev`: it is the subject's last event, or the floor (the end of the last restore's append)."""
        restoring = self._restoring
        if restoring and (entry.at, entry.actor, entry.cause) != (restoring.at, restoring.actor, restoring.cause):
            self._restoring, self._floor, self._versions = None, self.seq, {}
        known = self._versions.get(entry.subject, self._floor)
        if entry.prev != known and not self._may_have_been_forgotten(entry, known):
            self._tell(entry.seq, f"it follows version {entry.prev} of its subject, which was at {known}")
        self._versions[entry.subject] = entry.seq
        if isinstance(event.fact, RestoreDone):
            self._restoring = entry
        elif isinstance(event.fact, LogSealed):
            self.sealed.append(event.fact)

    def _may_have_been_forgotten(self, entry: Entry, known: int) -> bool:
        """Whether an entry links to nothing as the version of its subject, all of it sealed, was forgotten before."""
        sealed = max((fact.last for fact in self.sealed), default=0)
        return (
            entry.prev == self._floor and known <= sealed and may_be_forgotten(entry.subject.decode("utf-8", "replace"))
        )

    def check_versions(self, is_needed: Callable[[str], bool]) -> None:
        """Check the store's versions against the last event of each subject: appends are checked against them.

        is_needed: whether there is a row for which the version of a subject is needed: others may be forgotten.
        """
        if self.seq < self.head.seq or not self.seq:
            return
        try:
            held = self._log.versions()
        except LineageBroken as broken:
            self._tell(self.seq, broken.what)
            return
        if self._restoring:  # the append of a restore was the last one
            self._floor, self._versions = self.seq, {}
        wanted = {FLOOR: self._floor} | {
            subject.decode("utf-8", "replace"): at for subject, at in self._versions.items()
        }
        horizon = held.pop(HORIZON, 0)
        for subject in wanted.keys() | held.keys():
            known, found = wanted.get(subject), held.get(subject)
            is_newer = (found is not None and found > self.seq) or held.get(FLOOR, 0) > self.seq
            forgotten = found is None and known is not None and known <= horizon and not is_needed(subject)
            if known != found and not is_newer and not forgotten:
                name = f"the version of {subject!r}" if subject else "the floor of all versions"
                self._tell(known or self.seq, f"{name} is {found} in the store, not {known}")

    def check_segments(self, sealed: Segments | None) -> None:
        """Check that each segment named in the log, as far as the log can be read, is the file that was sealed."""
        if self.seq < self.head.seq:
            with suppress(LineageBroken):
                for events in self._log.scan(max(self.seq, self._log.first() - 1), self.head.seq):
                    self.sealed += [event.fact for event in events if isinstance(event.fact, LogSealed)]
        for fact in self.sealed:
            what = check(sealed, fact) if sealed else ""
            if what:
                self._tell(fact.first, what)

    def _tell(self, position: int, what: str) -> None:
        self.found.append(Difference(position, what))
