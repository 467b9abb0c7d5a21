"""The rules of an agent's health: what was seen of it, as checks with value, limit and what to do. Pure.

A check of what nobody has looked at is not made. A check that fails makes its agent unhealthy: it is given no work. One
that is only notable wants a look of a person, and keeps nobody from working: it says nothing certain of the agent, or
would shut it out for what only work mends. `model/health.py` makes a verdict out of the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.monitoring.disk_room import disk_problem
from maestro.model.monitoring.sights import (
    RememberedWorkspace,
    SeenProcess,
    SeenRun,
    SeenWorkspace,
    Sight,
)
from maestro.model.outcome import RETRIED

BINARY: Final = "binary"
WORKSPACE: Final = "workspace"
DISK: Final = "disk"
DEFINITION: Final = "definition"
PROCESS: Final = "process"
SILENCE: Final = "silence"
STORE: Final = "store"
NODE: Final = "node"
HEARTBEAT: Final = "heartbeat"
FAILURES: Final = "failures"
QUEUE: Final = "queue"

OF_THE_RUN: Final = frozenset({PROCESS, SILENCE, WORKSPACE})
"""Checks whose failure says that the run which is on has gone wrong; the others are of what lies around it."""

HEARTBEAT_S_MAX: Final = 60.0
STANDING_S_MAX: Final = {"stopped": 3.0, "zombie": 30.0, "disk-sleep": 120.0}
"""How long a process may stand still that the run cannot do without. 3 s: it is seen so at two looks in a row."""
CHILD_S_MAX: Final = 60.0
"""How long another process of the run may stand still at the least; it fails if the run is silent as long, too."""
SILENCE_GRACE_S: Final = 60.0
"""How much later than a run's limit its silence fails: its warden, which ends such a run, must be at fault then."""
SILENCE_S_NOTED: Final = 1800.0
FAILURES_NOTED: Final = 3
WAITS_S_NOTED: Final = 1800.0
OWN_FAILURES: Final = RETRIED | {"wrong_mode", "spawn_error"}
"""Outcomes by which a run counts as failed by its agent; what was lost or cancelled says nothing of it."""


class Check(msgspec.Struct, frozen=True):
    """The result of one check of an agent. detail: what was seen, for people; notable: it holds, and wants a look.

    value, limit: as numbers in `unit`, None where there is none; mend: what to do about it, "" for nothing. kind: the
    words of `detail` that say what is wrong, without what was measured: a check that goes on to fail, but of another
    kind, has another reason. "" for one that has no kinds.
    """

    name: str
    ok: bool
    detail: str
    notable: bool = False
    value: float | None = None
    unit: str = ""
    limit: float | None = None
    mend: str = ""
    kind: str = ""


def checks_of(agent: Agent, sight: Sight) -> list[Check]:
    """The checks of an agent that can be made of what was seen, by its row and so by what was found before."""
    made = (rule(agent, sight) for rule in _RULES)
    return [check for check in made if check is not None]


def is_remembered(agent: Agent, known: RememberedWorkspace | None) -> bool:
    """Whether a node remembers to have seen the workspace since the agent was assigned to it."""
    return known is not None and known.workspace == agent.workspace and known.assigned_at >= agent.assigned_at


def assigned_anew(agent: Agent) -> str:
    """The command that assigns an agent again where it is, up to its workspace."""
    node = f" --node {agent.node}" if agent.node else ""
    return f"maestro agent assign {agent.type} --name {agent.id}{node} --to-workspace"


def _binary(agent: Agent, sight: Sight) -> Check | None:
    if sight.program is None:
        return None
    if not sight.program:
        return Check(BINARY, True, f"{AgentDefinition(agent.definition).executable} can be run")
    mend = f"put it back, or bind another one: maestro agent assign {agent.type} --name {agent.id}"
    return Check(BINARY, False, sight.program, mend=mend, kind=sight.program)


def _workspace(agent: Agent, sight: Sight) -> Check | None:
    if agent.workspace is None:
        return None if sight.place is None else _place(agent, sight.place)
    return None if sight.workspace is None else workspace_check(agent, sight.workspace, sight.remembered)


def _place(agent: Agent, problem: str) -> Check:
    return Check(
        WORKSPACE,
        not problem,
        problem or f"{agent.workspace_root} can be used",
        mend=_mend_place(problem),
        kind=problem,
    )


def _mend_place(problem: str) -> str:
    return "make it a folder that Maestro may write" if problem else ""


def workspace_check(agent: Agent, seen: SeenWorkspace, known: RememberedWorkspace | None) -> Check:
    """Check that an assigned workspace can be used, and is the folder that it was. One that is gone is not
    made again.
    """
    path, remembered = agent.workspace or "", is_remembered(agent, known)
    wrong = ""
    if seen.problem:
        wrong = f"{path} {seen.problem}"
    elif not seen.there:
        was_in_it = not agent.run and agent.runs > 0 and agent.last_run_at >= agent.assigned_at
        if not (remembered or was_in_it):
            return Check(WORKSPACE, True, f"{path} is to be made")
        wrong = f"{path} was there and is gone"
    elif remembered and known is not None and known.shown and seen.shown not in ("", known.shown):
        wrong = f"{path} is another folder than it was ({seen.shown}, before {known.shown}): is a mount new or missing?"
    if wrong:
        return Check(WORKSPACE, False, wrong, mend=mend_workspace(agent), kind=wrong)
    return Check(WORKSPACE, True, f"{path} can be used")


def mend_workspace(agent: Agent) -> str:
    """What to do about a workspace that cannot be used."""
    path, again = agent.workspace or "<folder>", assigned_anew(agent)
    return f"{again} {path} takes or makes it anew, maestro state restore <snapshot> --workspace {path} brings it back"


def _disk(agent: Agent, sight: Sight) -> Check | None:
    seen = sight.disk
    if seen is None:
        return None
    if seen.problem:
        return Check(DISK, False, seen.problem, mend="see that the disk is mounted and answers")
    problem, limit = disk_problem(seen, DISK in agent.failed_checks)
    detail = f"{seen.free_bytes >> 20} MiB free below {seen.path}"
    mend = f"make room there: du -xh -d 1 {seen.path} says what takes it" if problem else ""
    told = f"{detail}: {problem}" if problem else detail
    return Check(DISK, not problem, told, value=seen.free_bytes >> 20, unit="MiB", limit=limit, mend=mend)


def _definition(_agent: Agent, sight: Sight) -> Check | None:
    if sight.definition is None:
        return None
    return Check(DEFINITION, True, sight.definition or "it is what the file says", notable=bool(sight.definition))


def _process(agent: Agent, sight: Sight) -> Check | None:
    if not agent.running:
        return Check(PROCESS, True, "no run is on")
    run = sight.run
    if run is None:
        return None
    bad, limit = _worst(run.standing, run)
    if bad is None and PROCESS in agent.failed_checks:
        bad, limit = _worst(run.before, run)  # it counts as mended when it goes on at two looks in a row
        if bad is not None:
            told = f"{_named(bad)} has just gone on, after {bad.for_s:.0f} s"
            return Check(PROCESS, False, told, value=0.0, unit="s", limit=limit, mend="nothing, if it goes on")
    if bad is not None:
        told = f"{_named(bad)} of run {agent.run} {_STATES[bad.state]} for {bad.for_s:.0f} s"
        return Check(
            *(PROCESS, False, told, False, round(bad.for_s, 1), "s", limit, _mend_process(agent, bad)),
            kind=_STATES[bad.state],
        )
    noted = next((each for each in run.standing if each.for_s >= CHILD_S_MAX), None)
    if noted is None:
        return Check(PROCESS, True, f"run {agent.run} has {run.count} processes, and none stands still")
    told = f"{_named(noted)} of run {agent.run} {_STATES[noted.state]} for {noted.for_s:.0f} s, the run goes on"
    value, mend = round(noted.for_s, 1), _mend_process(agent, noted)
    return Check(PROCESS, True, told, True, value, "s", CHILD_S_MAX, "" if noted.state == "zombie" else mend)


_STATES = {
    "stopped": "is stopped",
    "zombie": "is a zombie",
    "disk-sleep": "is in a call of the system that does not end",
}


def _named(process: SeenProcess) -> str:
    what = {"agent": "process", "warden": "the guard of the run, process"}.get(process.role, "child process")
    return f"{what} {process.pid} ({process.name})"


def _worst(standing: tuple[SeenProcess, ...], run: SeenRun) -> tuple[SeenProcess | None, float]:
    """The process that has stood still for longest beyond its limit, and that limit; None where none has."""
    found: SeenProcess | None = None
    limit = STANDING_S_MAX["stopped"]
    for each in standing:
        allowed = STANDING_S_MAX.get(each.state, CHILD_S_MAX)
        is_child = each.role == "child"
        if is_child:
            allowed = max(allowed, CHILD_S_MAX)
        if each.for_s < allowed or (is_child and (each.state == "zombie" or run.silent_s < allowed)):
            continue  # a dead child harms nobody, and where the run prints on it does not wait for this one
        if found is None or each.for_s > found.for_s:
            found, limit = each, allowed
    return found, limit


def _mend_process(agent: Agent, process: SeenProcess) -> str:
    ends = f"maestro task cancel {agent.task} ends the run"
    return f"kill -CONT {process.pid} lets it go on, {ends}" if process.state == "stopped" else ends


def _silence(agent: Agent, sight: Sight) -> Check | None:
    run = sight.run
    if run is None or not agent.running:
        return None
    silent_s, limit = round(run.silent_s, 1), run.silent_s_max
    told = f"run {agent.run} has printed nothing for {silent_s:.0f} s"
    mend = f"maestro agent logs {agent.id} --follow shows what it prints, maestro task cancel {agent.task} ends it"
    if limit is not None and silent_s > limit + SILENCE_GRACE_S:
        return Check(SILENCE, False, f"{told}, and was not ended for it", False, silent_s, "s", limit, mend)
    noted = limit is None and silent_s >= SILENCE_S_NOTED
    return Check(SILENCE, True, told, noted, silent_s, "s", limit, mend if noted else "")


def _store(_agent: Agent, sight: Sight) -> Check | None:
    seen = sight.store
    if seen is None:
        return None
    if seen.problem:
        return Check(STORE, False, f"the store is unsafe: {seen.problem}", mend=seen.mend, kind=seen.problem)
    return Check(STORE, True, seen.note or "it is safe", notable=bool(seen.note), mend=seen.mend if seen.note else "")


def _node(agent: Agent, sight: Sight) -> Check | None:
    if sight.nodes is None:
        return None
    node = None if agent.node is None else sight.nodes.get(agent.node)
    if agent.node is None:
        return Check(NODE, True, "any node will do")
    if node is None:
        return Check(NODE, True, f"node {agent.node} has not joined yet")
    is_lost = node.status == "lost"  # one that was shut down in order is not
    return Check(NODE, not is_lost, f"node {node.id} is {node.status}", mend=mend_node(agent) if is_lost else "")


def mend_node(agent: Agent) -> str:
    """What to do about an agent whose node is lost."""
    start, again = "start the daemon of its node (maestro up)", f"maestro agent assign {agent.id}"
    return f"{start}, or have the agent go on elsewhere: {again} --from-snapshot newest --node <node>"


def _heartbeat(agent: Agent, sight: Sight) -> Check | None:
    """A node that is down, that has just started, or to which the agent has just been assigned, need not have sent a
    heartbeat.
    """
    if sight.heartbeat is None or sight.nodes is None:
        return None
    age_s, now, nodes = sight.heartbeat.age_s, sight.heartbeat.now, sight.nodes
    if age_s is not None and age_s < HEARTBEAT_S_MAX:
        return Check(HEARTBEAT, True, f"{age_s:.1f} s ago", value=round(age_s, 1), unit="s", limit=HEARTBEAT_S_MAX)
    if sight.heartbeat.deaf:
        return None
    owners = nodes.values() if agent.node is None else [nodes[agent.node]] if agent.node in nodes else []
    since = [max(node.joined_at, agent.assigned_at) for node in owners if node.status == "up"]
    due = any(now - at > HEARTBEAT_S_MAX * 1000 for at in since)
    told = f"no heartbeat in the last {HEARTBEAT_S_MAX:.0f} s"
    if not due:
        why = "its node is down, or has just started, or has just got the agent"
        return Check(HEARTBEAT, True, f"{told}: {why}", value=age_s, unit="s", limit=HEARTBEAT_S_MAX)
    mend = "maestro node list shows its node: see that the daemon there is up, and not stopped"
    told += ": is the daemon of its node up?"
    return Check(HEARTBEAT, False, told, value=age_s, unit="s", limit=HEARTBEAT_S_MAX, mend=mend)


def _failures(agent: Agent, sight: Sight) -> Check | None:
    if sight.outcomes is None:
        return None
    own = [outcome for outcome in sight.outcomes if outcome == "ok" or outcome in OWN_FAILURES]
    count = own.index("ok") if "ok" in own else len(own)
    if not count:
        others = ", ".join(sight.outcomes[: sight.outcomes.index("ok")] if own else sight.outcomes)
        told = "its last run ended well" if own else "no run of it has ended"
        if others:
            told = f"none of its last runs counts as a failure of its own: {others}" + ("; before, ok" if own else "")
        return Check(FAILURES, True, told, value=0, unit="runs", limit=FAILURES_NOTED)
    noted = count >= FAILURES_NOTED  # no more than notable: only a run that is let go on can end the row of failures
    told = f"its last {count} runs failed: {', '.join(own[:count][:FAILURES_NOTED])}" if count > 1 else ""
    told = told or f"its last run failed: {own[0]}"
    mend = f"maestro agent logs {agent.id} shows why" if noted else ""
    return Check(FAILURES, True, told, noted, count, "runs", FAILURES_NOTED, mend)


def _queue(agent: Agent, sight: Sight) -> Check | None:
    seen = sight.queue
    if seen is None:
        return None
    if not seen.task:
        return Check(QUEUE, True, "nothing waits for it", value=0.0, unit="s", limit=WAITS_S_NOTED)
    noted = seen.waits_s >= WAITS_S_NOTED  # no more than notable: it would shut out what it waits for
    told = f"task {seen.task} is ready since {seen.waits_s:.0f} s" + (f": {seen.why}" if seen.why else "")
    mend = f"maestro queue status --agent {agent.id} says what each task waits for" if noted else ""
    return Check(QUEUE, True, told, noted, round(seen.waits_s, 1), "s", WAITS_S_NOTED, mend)


_RULES: tuple[Callable[[Agent, Sight], Check | None], ...] = (
    *(_binary, _workspace, _disk, _definition, _process, _silence, _store, _node, _heartbeat, _failures, _queue),
)
