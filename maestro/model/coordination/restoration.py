"""The course of a restore over several nodes: what the leader appends next, and what a node appends of its part.

All of it follows from rows and the time, so that the next leader goes on wherever the last one stopped. One append
decides: before it every workspace is as it was, and a node that is away or fails makes the restore fail, or is left out
where that was allowed. After it nothing can fail any more: a node that is away is `pending`, and its agents are stopped
until it has exchanged its workspaces.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from maestro.model.agent import Agent, decide_restart
from maestro.model.coordination.restore_parts import Restore, RestoreOptions, RestorePart, at_version
from maestro.model.events import (
    AgentStopped,
    NewEvent,
    PartWanted,
    RestoreAsked,
    RestoreDone,
    RestoreFailed,
    RestoreOpened,
    RestorePlaced,
    RestoreStarted,
    SnapshotAsked,
    SnapshotMissing,
)
from maestro.model.restore import (
    OpenWork,
    decide_agents,
    decide_lives,
    decide_restore_end,
    kept_places,
    stop_reason,
)
from maestro.model.state import StateKey

STAGING_MS_MAX = 3_600_000
"""How long the parts of a restore may take to be staged; a node that is gone is noticed long before."""
STOP_MS_MAX = 60_000
"""How long the agents of a restore may take to stop."""
GIVEN_UP = "it was given up by who asked for it"


class Before(NamedTuple):
    """The snapshot of what is there, as far as it is. state: as of the row, "" where it is not asked for yet.

    kept: the nodes whose parts it holds; why: it failed.
    """

    state: str = ""
    kept: frozenset[str] = frozenset()
    why: str = ""


class Seen(NamedTuple):
    """What the leader sees. now: server time, ms; floor: of the log; up: the nodes that are up; busy: something else is
    under way; running: agents whose runs have not ended, of nodes that are up; stopping_ms: how long they have been
    waited for, by the leader's own clock, as events may have a later time than the store's clock has; agents: all of
    them, and whys: the reason of the last stop of each that is stopped; before: see there; name: for the snapshot that
    is to be taken.
    """

    now: int
    floor: int
    up: Collection[str]
    agents: Mapping[str, Agent]
    whys: Mapping[str, str]
    busy: bool = False
    running: Sequence[str] = ()
    stopping_ms: int = 0
    before: Before = Before()
    name: str = ""


class Then(NamedTuple):
    """How things were at the position that a restore goes back to, and what is open now.

    at: server time there, ms. undone: restores whose stops of agents are not to come back: what they were done for is.
    """

    at: int
    keys: Sequence[StateKey]
    agents: Mapping[str, Agent]
    open: OpenWork
    now: OpenWork
    undone: Collection[str] = ()


def taking_part(row: Restore, seen: Seen) -> list[RestorePart]:
    """The parts that can still be done: not failed, on nodes that are up."""
    return [part for part in row.parts if part.state != "failed" and part.node in seen.up]


def trouble(row: Restore, options: RestoreOptions, seen: Seen) -> str:
    """Why an undecided restore cannot be done, in words; "" while it can."""
    if row.why:
        return row.why
    there = taking_part(row, seen)
    bad = [part for part in row.parts if part not in there]
    told = "; ".join(f"node {part.node} {_ailing(part)}" for part in bad)
    if bad and not options.skip_failed:
        return told
    if meddling := _meddling(row, there, seen.agents):
        return meddling
    if not any(part.placed for part in there) and row.to is None:
        skipped = [f"{place}: {why}" for part in there for place, why in part.skipped.items()]
        return "; ".join([*filter(None, [told]), *skipped]) or "nothing can be put back"
    if not there:
        return told or "no node takes part"
    return ""


def _meddling(row: Restore, there: Sequence[RestorePart], agents: Mapping[str, Agent]) -> str:
    """What somebody has done since the wish that must not be lost by it, in words: an agent is in a folder that would
    be replaced, though nobody has stopped it for that, so that what it does there is kept in no snapshot.
    """
    for part in there:
        for agent in agents.values():
            if agent.workspace is None or (agent.node or row.node) != part.node:
                continue
            place = next((each.workspace for each in part.placed if _overlap(each.workspace, agent.workspace)), "")
            if place and agent.id not in part.agents:
                return f"agent {agent.id} was assigned to {agent.workspace} on node {part.node} meanwhile"
            if place and row.state == "started" and not agent.stopped:
                return f"agent {agent.id} was let go on meanwhile, in {agent.workspace} on node {part.node}"
    return ""


def _overlap(one: str, other: str) -> bool:
    """Whether two folders are one, or one lies in the other, by their paths."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _ailing(part: RestorePart) -> str:
    return f"cannot do its part: {part.why}" if part.why else "is away"


def decide_ask(fact: RestoreAsked, floor: int) -> list[NewEvent]:
    """Wish for a restore."""
    return [NewEvent(f"restore:{fact.restore}", fact, floor)]


def decide_next(row: Restore, options: RestoreOptions, seen: Seen) -> list[NewEvent]:
    """What the leader appends next of a restore that is not decided; nothing while it has to wait.

    The decision itself is `decide_outcome`, which is due when `is_due` says so.
    """
    if why := trouble(row, options, seen):
        return decide_failed(row, why, seen)
    if row.state == "asked":
        if seen.busy:
            return []
        return [at_version(row, RestoreOpened(row.id, seen.now + STAGING_MS_MAX), seen.floor)]
    there = taking_part(row, seen)
    if row.state == "opened":
        late = [part.node for part in there if part.state == "wanted"]
        if not late:
            return [
                at_version(row, RestoreStarted(row.id, row.to or 0, row.source, seen.name), seen.floor),
                *_stops(row, seen),
            ]
        if seen.now > row.deadline_at:
            return decide_failed(row, f"node {', '.join(late)} did not stage its part in time", seen)
        return []
    if seen.before.state == "" and row.state == "started":
        if not seen.running:
            return [NewEvent(f"snapshot:{row.before}", _wish(row, options, seen), seen.floor)]
        if seen.stopping_ms > STOP_MS_MAX:
            return decide_failed(row, f"these agents did not stop in time: {', '.join(seen.running)}", seen)
    if seen.before.state == "failed":
        return decide_failed(row, f"what is there could not be kept: {seen.before.why}", seen)
    return []


def is_due(row: Restore, options: RestoreOptions, seen: Seen) -> bool:
    """Whether the decision is due: all is staged, stopped, and what is there is kept."""
    return row.state == "started" and seen.before.state == "complete" and not trouble(row, options, seen)


def decide_outcome(row: Restore, options: RestoreOptions, seen: Seen, then: Then | None) -> list[NewEvent]:
    """The decision on a restore that is due. then: None where the state stays as it is.

    Append it with `floors` where there is a `then`. It conflicts where a node has said meanwhile that its part failed.
    """
    there = [part for part in taking_part(row, seen) if part.placed]
    unkept = [part.node for part in there if part.node not in seen.before.kept]
    if unkept and not options.skip_failed:
        return decide_failed(row, f"what is there on node {', '.join(unkept)} could not be kept", seen)
    going = [part for part in there if part.node not in unkept]
    pending = tuple(part.node for part in going)
    if then is None or row.to is None:
        if not going:
            return decide_failed(row, f"what is there on node {', '.join(unkept)} could not be kept", seen)
        workspaces = tuple(each.workspace for part in going for each in part.placed)
        placed = RestorePlaced(row.id, row.source, workspaces, row.before, pending)
        staying = {name for part in going for name in part.agents} | {
            each.agent for part in going for each in part.placed
        }
        return [at_version(row, placed, seen.floor), *_restarts(row, seen, staying)]
    held = {each.agent for part in going for each in part.placed}
    out = {each.agent for part in row.parts for each in part.placements} - held
    assigned = [each for each in options.assigned if each.workspace is None or each.agent not in out]
    assigned += kept_places(out - {each.agent for each in assigned}, seen.agents, then.agents)
    more = [*decide_lives(then.keys, then.at), *decide_agents(assigned, then.agents, {})]
    more += _stopped_then(row, held, then)
    done = RestoreDone(row.id, row.to, row.source, row.before, pending)
    events = decide_restore_end(done, then.now, then.open, seen.floor, options.resume, more)
    return [at_version(row, done, seen.floor) if event.fact is done else event for event in events]


def _stopped_then(row: Restore, held: Collection[str], then: Then) -> list[NewEvent]:
    """The stops of agents whose workspaces are not exchanged yet; and the end of stops that only a restore made, which
    the snapshot that it took has kept.
    """
    events = []
    for name, agent in sorted(then.agents.items()):
        takes_work = not agent.stopped or agent.reason in {stop_reason(each) for each in then.undone}
        if takes_work and name in held:
            events.append(NewEvent(f"agent:{name}", AgentStopped(name, stop_reason(row.id))))
        elif takes_work and agent.stopped:
            events += [msgspec.structs.replace(event, expected=None) for event in decide_restart(name, agent)]
    return events


def decide_failed(row: Restore, why: str, seen: Seen) -> list[NewEvent]:
    """End a restore before its decision; its agents take work again. Nothing where it is decided."""
    if row.decided or row.state == "failed":
        return []
    return [at_version(row, RestoreFailed(row.id, why), seen.floor), *_restarts(row, seen)]


def _restarts(row: Restore, seen: Seen, staying: Collection[str] = ()) -> list[NewEvent]:
    """The restarts of agents that were stopped for a restore, but for those that are to stay so."""
    ours = [name for name, why in sorted(seen.whys.items()) if why == stop_reason(row.id) and name not in staying]
    return [event for name in ours for event in decide_restart(name, seen.agents[name], seen.floor)]


def _stops(row: Restore, seen: Seen) -> list[NewEvent]:
    names = sorted({name for part in taking_part(row, seen) for name in part.agents})
    found = [seen.agents[name] for name in names if name in seen.agents]
    return [
        NewEvent(f"agent:{each.id}", AgentStopped(each.id, stop_reason(row.id)), max(each.version, seen.floor))
        for each in found
        if not each.stopped
    ]


def _wish(row: Restore, options: RestoreOptions, seen: Seen) -> SnapshotAsked:
    """The wish for the snapshot of what is there, on all nodes that take part."""
    there = taking_part(row, seen)
    parts, missing = [], []
    for part in row.parts:
        here = [seen.agents[name] for name in part.agents if name in seen.agents]
        here = [each for each in here if each.workspace is not None and each.node in (None, part.node)]
        if part in there:
            parts.append(PartWanted(part.node, tuple(each.id for each in here), row.to is not None))
            continue
        why = f"is on node {part.node}, which takes no part"
        missing += [SnapshotMissing(each.id, str(each.workspace), why) for each in here]
    return SnapshotAsked(
        row.before,
        options.reason,
        row.node,
        tuple(parts),
        automatic=True,
        missing=tuple(missing),
        allow_missing=True,
        allow_torn=True,
        restore=row.id,
    )
