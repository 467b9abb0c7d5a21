"""Restores that several nodes take part in, as the log has them: a row of the view `restores`.

A restore is `asked`, `opened` when its turn has come, `started` when all parts are staged and the agents are being
stopped, then `done` or `failed`. Until `done` every workspace is as it was; from there on a part is `pending` until its
node has said that the workspaces are exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from maestro.model.agent import Agent
from maestro.model.events import (
    AgentAssigned,
    BlobRef,
    Event,
    NewEvent,
    RestoreAsked,
    RestoreDone,
    RestoreFailed,
    RestoreOpened,
    RestorePartFailed,
    RestorePartPlaced,
    RestorePartStaged,
    RestorePartWanted,
    RestorePlaced,
    RestorePlacement,
    RestoreStarted,
)

UNDECIDED = frozenset({"asked", "opened", "started"})
"""The states before the decision: every workspace is as it was."""
OPEN = frozenset({"opened", "started"})
"""The states in which nothing else may begin."""


class RestoreOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the user asked for besides, as `restore.asked` carries it.

    reason: `restore` or `rollback`. resume: what was open goes on. skip_failed: what fails is left out. skip_verify: no
    complete check before the start. assigned: the assignments that the end makes. left_out: nodes that take no part, as
    they are away, with why. waiting: agents that an earlier restore has left stopped, as their workspaces were lost.
    """

    reason: str = "restore"
    resume: bool = False
    skip_failed: bool = False
    skip_verify: bool = False
    assigned: tuple[AgentAssigned, ...] = ()
    left_out: dict[str, str] = msgspec.field(default_factory=dict)
    waiting: tuple[str, ...] = ()


class RestorePart(msgspec.Struct, omit_defaults=True):
    """What one node does of a restore. state: wanted, staged, failed, pending, placed, or out (it takes no part).

    agents: those that have a workspace there and are stopped for it. skipped: workspaces that are left out, with why;
    damaged: those of them whose archives are. lost: workspace -> damaged files that are left out, with why. left:
    workspaces that could not be exchanged, with why. why: the part failed.
    """

    node: str
    placements: tuple[RestorePlacement, ...] = ()
    agents: tuple[str, ...] = ()
    state: str = "wanted"
    skipped: dict[str, str] = msgspec.field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    lost: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    left: dict[str, str] = msgspec.field(default_factory=dict)
    why: str = ""

    @property
    def placed(self) -> tuple[RestorePlacement, ...]:
        """The workspaces that it puts back: all but those that are skipped."""
        return tuple(each for each in self.placements if each.workspace not in self.skipped)


def waiting_in(part: RestorePart, agents: Mapping[str, Agent]) -> list[str]:
    """The agents that take nothing until a part is placed: those that have not moved away from what it exchanges."""
    places = {each.agent: (part.node, each.workspace) for each in part.placed}
    there = {name: (agents[name].node, agents[name].workspace) for name in places if name in agents}
    return sorted(name for name, place in there.items() if places[name] == place)


class Restore(msgspec.Struct, omit_defaults=True):
    """A restore over several nodes; a row of the view `restores`. state: see above.

    position: of `restore.asked`; node: the asker's; options: as JSON (`RestoreOptions`). actor, cause: who asked.
    deadline_at, started_at: server time, ms. before: the snapshot that undoes it. decided: the position of the
    decision, 0 before it. why: it failed.
    """

    id: str
    version: int
    position: int
    asked_at: int
    node: str
    actor: str
    cause: str
    to: int | None = None
    source: str = ""
    options: str | BlobRef = ""
    state: str = "asked"
    parts: list[RestorePart] = []
    deadline_at: int = 0
    started_at: int = 0
    before: str = ""
    decided: int = 0
    why: str = ""

    def part(self, node: str) -> RestorePart | None:
        """What a node does of it, None for nothing."""
        return next((part for part in self.parts if part.node == node), None)

    @property
    def pending(self) -> list[RestorePart]:
        """The parts that are decided, and not exchanged as far as the log knows."""
        return [part for part in self.parts if part.state == "pending"]

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state not in UNDECIDED and not self.pending

    @property
    def needs(self) -> set[str]:
        """The snapshots that it reads, or will read again: they must not expire."""
        if self.is_over:
            return set()
        named = {each.snapshot for part in self.parts for each in part.placements}
        return named | {self.before} - {""}


RestoreFact = (
    RestoreOpened
    | RestoreStarted
    | RestoreDone
    | RestorePlaced
    | RestoreFailed
    | RestorePartStaged
    | RestorePartFailed
    | RestorePartPlaced
)


def at_version(row: Restore, fact: RestoreFact, floor: int) -> NewEvent:
    """A fact about a restore, which the log refuses where something has happened to that since the row was read."""
    return NewEvent(f"restore:{row.id}", fact, max(row.version, floor))


def options_of(text: str) -> RestoreOptions:
    """The options that `restore.asked` carries."""
    return msgspec.json.decode(text, type=RestoreOptions) if text else RestoreOptions()


def superseded(row: Restore, cut: int) -> bool:
    """Whether a later restore has cut the line behind a decided one: what is pending of it is not done any more.

    cut: the position of the last `restore.done`.
    """
    return 0 < row.decided < cut


def evolve(row: Restore | None, event: Event) -> Restore | None:
    """The restore after the event, changed in place; None for one that a single node does."""
    fact = event.fact
    if isinstance(fact, RestoreAsked):
        return row or _asked(fact, event)
    if row is None:
        return None
    match fact:
        case RestoreOpened() if row.state == "asked":
            row.state, row.deadline_at = "opened", fact.deadline_at
        case RestorePartStaged() if row.state == "opened":
            _staged(row, fact)
        case RestorePartFailed() if row.state in UNDECIDED:
            _failed(row, fact)
        case RestoreStarted() if row.state == "opened":
            row.state, row.before, row.started_at = "started", fact.before, event.at
        case RestoreDone() | RestorePlaced() if row.state in UNDECIDED:
            _decided(row, fact.pending, event.seq)
        case RestorePartPlaced() if row.state == "done":
            _placed(row, fact)
        case RestoreFailed() if row.state in UNDECIDED:
            row.state, row.why = "failed", fact.reason
        case _:
            pass
    row.version = event.seq
    return row


def _asked(fact: RestoreAsked, event: Event) -> Restore:
    return Restore(
        id=fact.restore,
        version=event.seq,
        position=event.seq,
        asked_at=event.at,
        node=fact.node,
        actor=event.actor,
        cause=event.cause,
        to=fact.to,
        source=fact.source,
        options=fact.options,
        parts=[_wanted(part) for part in fact.parts],
    )


def _wanted(part: RestorePartWanted) -> RestorePart:
    return RestorePart(part.node, part.placements, part.agents)


def _staged(row: Restore, fact: RestorePartStaged) -> None:
    part = row.part(fact.node)
    if part is not None and part.state == "wanted":
        part.state, part.skipped, part.damaged, part.lost = "staged", dict(fact.skipped), fact.damaged, dict(fact.lost)


def _failed(row: Restore, fact: RestorePartFailed) -> None:
    if fact.given_up:
        row.why = fact.reason
        return
    part = row.part(fact.node)
    if part is not None:
        part.state, part.why = "failed", fact.reason


def _decided(row: Restore, pending: tuple[str, ...], seq: int) -> None:
    row.state, row.decided = "done", seq
    for part in row.parts:
        part.state = "pending" if part.node in pending else "out"


def _placed(row: Restore, fact: RestorePartPlaced) -> None:
    part = row.part(fact.node)
    if part is not None and part.state == "pending":
        part.state, part.left = "placed", dict(fact.left)
