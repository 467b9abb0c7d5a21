"""The conditions that last and are to be told, of what the leader sees at one moment. Pure.

The limits are constants here: what is worth a person's attention is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from maestro.model.agent import Agent
from maestro.model.health import NODE
from maestro.model.ids import typed_instance
from maestro.model.monitoring.alert_rules import HOUR_MS, MINUTE_MS, Condition, snapshot_command
from maestro.model.monitoring.failsafe import held
from maestro.model.node import Node

STALLED_MS: Final = MINUTE_MS
"""For how long nothing may run while work is ready: longer than the scheduler and a node take to begin."""
READY_MS_MAX: Final = HOUR_MS
"""How long a ready task may wait for its turn."""
APPROVAL_MS_MAX: Final = HOUR_MS
"""How long an approval may wait for a person."""
OVERDUE_MS: Final = 30 * MINUTE_MS
"""How long after its due time a snapshot may still be missing: taking one may last."""
OUTAGE_MS_MIN: Final = 5_000
"""A store that was away for less is not told: a restart takes that long."""
OUTAGE_TOLD_MS: Final = MINUTE_MS
"""For how long an outage that is over counts: who is told of it only then is told that it is over, too."""
SPEND_MIN: Final = 10.0
"""What an hour must cost, in the agents' currency, before its rate is looked at: below, all changes are large."""
SPEND_TIMES: Final = 4.0
"""So many times the mean hour of the day before an hour may cost."""
SPEND_CALM: Final = 2.0
"""It counts as over at so many times the mean only, so that it does not come and go."""
SPEND_HOURS: Final = 24
"""Over so many hours the mean is taken; hours without any spending count, too."""


class Ready(msgspec.Struct, frozen=True):
    """The ready task that has waited longest. since: when it became ready; why: it does not run, in words."""

    task: str
    title: str
    since: int
    why: str = ""


class Lacking(msgspec.Struct, frozen=True):
    """Labels that no node has, with the ready task that has waited longest for them. since: server ms."""

    labels: str
    task: str
    title: str
    since: int


class Approval(msgspec.Struct, frozen=True):
    """An approval that waits for a person. since: server ms."""

    run: str
    workflow: str
    step: str
    since: int
    prompt: str = ""


class Overspent(msgspec.Struct, frozen=True):
    """A run of a workflow that is paused as its budget is spent.

    why: what is spent, in words; addition: what lets it go on, as `--add-budget` takes it.
    """

    run: str
    workflow: str
    why: str = ""
    addition: str = ""


class Due(msgspec.Struct, frozen=True):
    """A schedule that takes snapshots. last_due: its last due time, server ms."""

    schedule: str
    last_due: int


class Outage(msgspec.Struct, frozen=True):
    """A time in which the store could not be reached. Both server ms; until: 0 where it is not over."""

    since: int
    until: int


class World(msgspec.Struct, frozen=True):
    """What the leader sees at one moment. now: server ms.

    seen: by node, what it says of itself (`node:<id>:seen`), None where it has said nothing of late. running: how many
    runs are on; ready: what waits longest, None for nothing; lacking: labels that are asked for and that no node has.
    newest: when the newest complete snapshot was taken.
    spend: what each hour cost, by its number since the epoch. verified: the last `replay verify`, as it was kept.
    """

    now: int
    agents: Mapping[str, Agent] = {}
    nodes: Mapping[str, Node] = {}
    seen: Mapping[str, Mapping[str, str] | None] = {}
    running: int = 0
    ready: Ready | None = None
    lacking: Sequence[Lacking] = ()
    approvals: Sequence[Approval] = ()
    overspent: Sequence[Overspent] = ()
    snapshots: Sequence[Due] = ()
    newest: int = 0
    spend: Mapping[int, float] = {}
    verified: Mapping[str, str] | None = None
    outage: Outage | None = None


def conditions(world: World) -> list[Condition]:
    """All that lasts and is to be told, as of this world. Costs O(agents + nodes + open approvals)."""
    return [
        *_agents(world.agents.values()),
        *_nodes(world),
        *_queue(world),
        *_workflows(world),
        *_store(world),
        *_snapshots(world),
        *_spending(world),
    ]


def gone(world: World, name: str, subject: str) -> str:
    """Why an alert's subject is no more there to be told of, in words; "" where it is."""
    if name in ("agent_unhealthy", "failsafe_kept"):
        agent = world.agents.get(subject)
        if agent is None:
            return "there is no such agent any more"
        return "it was stopped" if agent.stopped and name == "agent_unhealthy" else ""
    if name in ("node_silent", "disk", "copies_damaged"):
        node = world.nodes.get(subject)
        if node is None or node.forgotten:
            return "it was given up" if node is not None else "there is no such node any more"
        return "it has left" if node.status == "left" else ""
    if name == "snapshot_overdue" and all(each.schedule != subject for each in world.snapshots):
        return "the schedule is switched off or removed"
    return ""


def _agents(agents: Iterable[Agent]) -> Iterator[Condition]:
    for agent in agents:
        if why := held(agent):
            what, command = f"failsafe mode holds agent {agent.id}", f"maestro agent restart {agent.id}"
            yield Condition("failsafe_kept", agent.id, what, why, 0, command, agent.node or "", kind=why)
        if agent.healthy or agent.stopped or agent.failed_checks == [NODE]:
            continue
        what = f"agent {agent.id} is unhealthy: {', '.join(agent.failed_checks) or 'a check fails'}"
        command = f"maestro agent health {agent.id}"
        why = agent.reason  # an event has changed it, and none does so for what was measured alone
        yield Condition("agent_unhealthy", agent.id, what, why, 0, command, agent.node or "", kind=why)


def _nodes(world: World) -> Iterator[Condition]:
    for node in world.nodes.values():
        if node.forgotten:
            continue
        if node.status == "lost":
            what, command = f"node {node.id} is silent", f"maestro up   # on host {node.host}"
            why = node.reason or "its lease ran out"
            yield Condition("node_silent", node.id, what, why, node.changed_at, command, node.id)
        if node.status == "left":
            continue
        seen = world.seen.get(node.id)
        if seen is None or "disk_low" not in seen:
            yield Condition("disk", node.id, unsure=True)
            yield Condition("copies_damaged", node.id, unsure=True)
            continue
        if copies := seen.get("copies"):
            what = f"node {node.id} finds copies in the shared archive damaged"
            command = f"maestro state verify --copies   # on host {node.host}"
            yield Condition("copies_damaged", node.id, what, copies, 0, command, node.id)
        if seen["disk_low"]:
            what, command = f"node {node.id} is short of disk room", f"maestro doctor   # on host {node.host}"
            yield Condition("disk", node.id, what, seen["disk_low"], 0, command, node.id)


def _queue(world: World) -> Iterator[Condition]:
    for lacks in world.lacking:
        what = f"no node has the label{'s' if ',' in lacks.labels else ''} {lacks.labels.replace(',', ' and ')}"
        why = f"task {lacks.task} ({lacks.title}) asks for a node that has"
        yield Condition("label_missing", lacks.labels, what, why, lacks.since, "maestro node list", hold_ms=STALLED_MS)
    ready = world.ready
    if ready is None:
        return
    command = "maestro queue status --waiting"
    why = f"task {ready.task} ({ready.title}) waits for {ready.why or 'its turn'}"
    if not world.running:
        what = "nothing runs while work is ready"
        yield Condition("stalled_queue", "", what, why, ready.since, command, hold_ms=STALLED_MS)
    if world.now - ready.since > READY_MS_MAX:
        what = f"the oldest ready task has waited for {_hours(world.now - ready.since)}"
        yield Condition("oldest_ready", "", what, why, ready.since, command)


def _workflows(world: World) -> Iterator[Condition]:
    for one in world.approvals:
        if world.now - one.since > APPROVAL_MS_MAX:
            what = f"step {one.step} of workflow {one.workflow} waits for an answer"
            command = f"maestro workflow approve {one.run} {typed_instance(one.step)}"
            yield Condition("approval_waiting", f"{one.run}/{one.step}", what, one.prompt, one.since, command)
    for run in world.overspent:
        what = f"a run of workflow {run.workflow} is paused: its budget is spent"
        command = f"maestro workflow resume {run.run}" + (f" --add-budget {run.addition}" if run.addition else "")
        yield Condition("over_budget", run.run, what, run.why, command=command)


def _store(world: World) -> Iterator[Condition]:
    command = "maestro doctor"
    unsafe = {name: seen["store"] for name, seen in world.seen.items() if seen and seen.get("store")}
    if unsafe:
        node, why = min(unsafe.items())
        yield Condition("store", "", "the store is unsafe", why, 0, command, node, kind=why)
        return
    out = world.outage
    if out is None or (out.until and world.now - out.until > OUTAGE_TOLD_MS):
        return
    lasted = (out.until or world.now) - out.since
    if lasted >= OUTAGE_MS_MIN:
        why = f"it could not be reached for {lasted // 1000} s; what was acknowledged is kept"
        yield Condition("store", "", "the store was away", why, out.since, command, kind="away")


def _snapshots(world: World) -> Iterator[Condition]:
    places = {agent.node for agent in world.agents.values() if agent.workspace and agent.node}
    lacks = any(name not in world.nodes or world.nodes[name].status != "up" for name in places)
    for one in world.snapshots:
        if one.last_due and world.newest < one.last_due and world.now - one.last_due > OVERDUE_MS:
            what = f"no snapshot since the last due time of schedule {one.schedule}"
            yield Condition("snapshot_overdue", one.schedule, what, "", one.last_due, snapshot_command(lacks))
    if world.verified is None:
        yield Condition("replay_mismatch", "", unsure=True)
    elif world.verified.get("ok") != "1":
        what, command = "the views are not what the log says", "maestro replay rebuild   # then: maestro replay verify"
        why = world.verified.get("why", "")
        yield Condition("replay_mismatch", "", what, why, 0, command, kind=why)


def _spending(world: World) -> Iterator[Condition]:
    """The hour that is going on or the one before it, against the mean hour of the day before that one."""
    hour = world.now // HOUR_MS
    cost = max(world.spend.get(hour, 0.0), world.spend.get(hour - 1, 0.0))
    before = sum(world.spend.get(one, 0.0) for one in range(hour - 1 - SPEND_HOURS, hour - 1)) / SPEND_HOURS
    if cost >= SPEND_MIN and cost > SPEND_TIMES * before:
        what, command = f"an hour costs {cost:.4g}", "maestro queue status --processing"
        yield Condition("spend_rate", "", what, f"the mean hour of the day before cost {before:.4g}", 0, command)
    elif cost >= SPEND_MIN / 2 and cost > SPEND_CALM * before:
        yield Condition("spend_rate", "", unsure=True)


def _hours(ms: int) -> str:
    return f"{ms // HOUR_MS} h {ms % HOUR_MS // MINUTE_MS} min"
