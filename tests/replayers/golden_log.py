"""The golden log of a release: its events as exported, and the digests that its folds must have on every machine.

`python -m tests.replayers.golden_log` writes the one of this version, once, before the release. A later version adds
its own and keeps the older ones: their events must still be read, and where the fold versions are still those of
their `.json`, the digests must still be the same, view by view.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from maestro import __version__
from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.facts.permission import PermissionOption, TaskPermissionAnswered, TaskPermissionAsked
from maestro.store.codec import chain_of, event_of
from maestro.store.contract import Entry
from projections.fold import VIEWS, Fold
from projections.generations import FOLDS
from projections.lineage import Line, cuts_of
from replayers.export import plain
from tests.projections.histories import World
from tests.replayers.golden_run import told

FOLDER = Path(__file__).with_name("golden")
EVENTS = 800
START = 1_780_000_000_000
CUTS = {150: 90, 260: 200, 380: 120}
"""Where the log is restored, and to what: the third goes back behind both others."""
RARE_EVERY = 20
"""So often there is a place for a fact that no other draw makes."""
TOLD_FROM = 400
"""From here on every other event is the next one of a run of a workflow: no restore cuts into it."""


class Stored(msgspec.Struct):
    """A line of the golden log, as `events export` writes it."""

    seq: int
    type: str
    subject: str
    at: int
    actor: str
    cause: str
    prev: int
    v: int
    data: msgspec.Raw
    chain: str

    def entry(self) -> Entry:
        """The entry that was exported."""
        texts = (self.type.encode(), self.subject.encode(), self.at, self.actor.encode(), self.cause.encode())
        return Entry(self.seq, *texts, self.prev, b"%d" % self.v, bytes(self.data), self.chain)


def read(path: Path) -> Iterator[Entry]:
    """The entries of a golden log."""
    decoder = msgspec.json.Decoder(Stored)
    for line in path.read_bytes().splitlines():
        yield decoder.decode(line).entry()


def fold(entries: list[Entry]) -> Fold:
    """All views at the end of these entries."""
    events = [event_of(entry) for entry in entries]
    folded = Fold(Line(cuts_of(events), entries[-1].seq))
    folded.apply(events)
    return folded


def made() -> Iterator[Entry]:
    """A log with every fact of this version, the same each time."""
    random = Random(20260501)
    world = World(random)
    rare, whole = iter(all_others()), iter(told())
    versions: dict[str, int] = {}
    floor, chain, at = 0, "", START
    for seq in range(1, EVENTS + 1):
        if seq in CUTS:
            new = NewEvent(f"restore:r{seq}", e.RestoreDone(f"r{seq}", CUTS[seq], "snapshot"))
        else:
            new = (
                next(rare, None)
                if seq % RARE_EVERY == 0
                else next(whole, None)
                if seq > TOLD_FROM and seq % 2
                else None
            )
            new = new or world.event()
        at += random.choice((0, 1, 1_000, 600_000))
        name = e.NAMES[type(new.fact)]
        data = msgspec.json.encode(new.fact, order="deterministic")
        prev = versions.get(new.subject, floor)
        cause = str(seq - 1) if random.random() < 0.3 else f"cmd:{seq}"
        texts = (name.encode(), new.subject.encode(), at, b"cli:golden", cause.encode())
        entry = Entry(seq, *texts, prev, b"%d" % e.VERSIONS.get(name, 1), data, "")
        chain = chain_of(chain, entry)
        versions[new.subject] = seq
        if seq in CUTS:
            floor, versions = seq, {}
        yield msgspec.structs.replace(entry, chain=chain)
    if undrawn := [e.NAMES[type(new.fact)] for new in (*rare, *whole)]:
        raise ValueError(f"{EVENTS} events have no place for {undrawn}: the next golden log needs more of them")


def all_others() -> Iterator[NewEvent]:
    """Facts that are rare, one each: those that no view is made of, and those of snapshots.

    Each `RARE_EVERY`th event is one of them, unless the log is restored there.
    """
    yield NewEvent("snapshot:s1", e.SnapshotStarted("s1", "asked", False, ("tester",), "north"))
    yield NewEvent("snapshot:s1", e.SnapshotTaken("s1", 10, True, "/s/1"))
    yield NewEvent("snapshot:s1", e.SnapshotPinned("s1"))
    yield NewEvent("snapshot:s1", e.SnapshotUnpinned("s1"))
    yield NewEvent("snapshot:s2", e.SnapshotFailed("s2", "disk full"))
    yield NewEvent("snapshot:s1", e.SnapshotExpired("s1"))
    yield NewEvent("restore:r9", e.RestoreStarted("r9", 5, "s1", "s2"))
    yield NewEvent("restore:r9", e.RestorePlaced("r9", "s1", ("/w/tester",), "s2"))
    yield NewEvent("restore:r9", e.RestoreFailed("r9", "a file differs"))
    yield NewEvent(
        "task:t1", TaskPermissionAsked("t1", "t1-0.1", 4, "rm -rf build", (PermissionOption("y"),), "execute", 9)
    )
    yield NewEvent("task:t1", TaskPermissionAnswered("t1", "t1-0.1", 4, "allow", "y", "known"))
    yield NewEvent("log:segments", e.LogSealed(1, 9, "ab" * 32, "cd" * 20, "/s/1.zst"))
    yield NewEvent("log:lineage", e.LogForked(9, "cd" * 20, "a failover"))
    yield NewEvent("workspaces:all", e.WorkspaceClaimed("tester", "/w", "/w/tester", "north"))
    yield NewEvent("agent:tester", e.WorkspaceGuarded("tester", "t1-0.1", "t1", "/w/tester", "s1", "north"))
    yield NewEvent("agent:tester", e.FailsafeKept("tester", "t1-0.1", "t1", "/w/tester", "s1", "somebody changed it"))
    yield NewEvent("alert:store:", e.AlertSnoozed("store:", 9_000, "known"))
    yield NewEvent("alert:store:", e.AlertResolved("store:", "recovered", "it is back"))
    yield NewEvent("restore:r1", e.RestorePartFailed("r1", "north", "no room"))
    yield NewEvent("log:branch", e.LogBranched("one", 9, "cd" * 20, "/forks/two"))
    yield NewEvent("snapshot:s3", e.SnapshotPartTaken("s3", "north", "cd" * 32, bytes=70, torn=("a\n",)))


def write() -> None:
    """Write the golden log of this version and its digests."""
    entries = list(made())
    encode: Any = msgspec.json.encode
    (FOLDER / f"{__version__}.jsonl").write_bytes(b"".join(encode(plain(entry)) + b"\n" for entry in entries))
    versions = {name: view.VERSION for name, view in VIEWS.items()}
    proof = {"folds": FOLDS, "versions": versions, "digests": fold(entries).digests()}
    (FOLDER / f"{__version__}.json").write_bytes(msgspec.json.format(encode(proof), indent=2) + b"\n")


if __name__ == "__main__":
    write()
