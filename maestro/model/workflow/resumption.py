"""Starting again from what failed, or from a step: what of an earlier run is reused, and what runs again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from maestro.model.errors import NotFound, Refused
from maestro.model.facts.workflow import StepEnded, WorkspaceRestoreWanted
from maestro.model.ids import nearest, shown
from maestro.model.workflow.definition import Step, Workflow
from maestro.model.workflow.graph import Graph, graph_of, reached
from maestro.model.workflow.instances import Instance, instance_id, parse_instance
from maestro.model.workflow.run import Run


class Resumption(msgspec.Struct, frozen=True):
    """What a new run takes over: the fields of that name of `WorkflowRunStarted`. again: the steps that run again."""

    reused: dict[str, StepEnded]
    rounds: dict[str, int]
    turns: dict[str, int]
    turned: tuple[str, ...]
    items: dict[str, list[Any]]
    again: tuple[str, ...]
    archives: dict[str, WorkspaceRestoreWanted] = {}


def resumption(old: Run, start: str, workflow: Workflow, restores: bool = False) -> Resumption:
    """What a run of `workflow` that begins at `start` takes over from an earlier one.

    start: `failed`, a step, or one item (`step[i]`). restores: workspaces go back to before what runs again. Raises
    NotFound for an unknown step, Refused where the earlier run is open, a reused step is gone or changed, or there is
    no archive to go back to.
    """
    if not old.ended:
        raise Refused(f"the run {old.id} has not ended", mend=f"maestro workflow stop {old.id}")
    graph = graph_of(workflow)
    began = _began(old, start, workflow)
    again = reached(began.keys() & graph.followers.keys(), graph.followers)
    anew = _anew(graph, again, began, start)
    by_step: dict[str, list[Instance]] = {}
    for one in old.instances.values():
        by_step.setdefault(one.step, []).append(one)
    reused: dict[str, StepEnded] = {}
    rounds: dict[str, int] = {}
    partly: dict[str, list[Any]] = {}
    for step in graph.order:
        if graph.below[step] or step not in old.current or step in anew:
            continue  # handlers run anew where they are needed
        activation = old.current[step]
        whole = step not in again and _is_done(old, step)
        ids = list(_kept(old, by_step.get(step, []), whole, began.get(step)))
        if whole and not ids:
            ids = [instance_id(step, activation.round)]  # a group without items
        if ids:
            _same(old, step, workflow)
        reused |= {id: _ended(old, id) for id in ids}
        if not whole and any((parse_instance(id) or ("", 0, None))[1] == activation.round for id in ids):
            partly[step] = old.items[step]
        if activation.round > 1:
            rounds[step] = activation.round
    turns = {end: turn for end, turn in old.turns.items() if end in graph.loops and end not in anew and turn > 1}
    turned = tuple(end for end in sorted(old.turned) if end in graph.loops and not graph.loops[end].body & again)
    archives = _archives(old, reused, restores)
    return Resumption(
        reused, rounds, turns, turned, partly, tuple(step for step in graph.order if step in again), archives
    )


def _anew(graph: Graph, again: frozenset[str], began: Mapping[str, frozenset[str]], start: str) -> frozenset[str]:
    """The steps of loops that begin anew, as their first step runs again, and not as it failed in a later round."""
    found: frozenset[str] = frozenset()
    for loop in graph.loops.values():
        is_named = start != "failed" and loop.start in began
        if is_named or (
            loop.start in again
            and loop.start in reached((began.keys() & graph.followers.keys()) - loop.body, graph.followers)
        ):
            found |= loop.body
    return found


def _kept(old: Run, instances: list[Instance], whole: bool, began: frozenset[str] | None) -> Iterator[str]:
    """The instances of a step that are reused: all; or its earlier rounds, and of those that begin themselves the items
    that ended well. began: those that do, None where the step runs again for the sake of another one.
    """
    for one in instances:
        is_past = one.round < old.current[one.step].round
        is_good = began is not None and one.item is not None and one.status == "completed" and one.id not in began
        if whole or is_past or is_good:
            yield one.id


def _ended(old: Run, id: str) -> StepEnded:
    """How an instance ended, without the archives and attempts of its own run."""
    told = old.told.get(id)
    if told is not None:
        return msgspec.structs.replace(told, next="", due=0)
    one = old.instances.get(id)  # None for a group without items
    if one is None:
        return StepEnded(old.id, id, "completed")
    return StepEnded(old.id, id, one.status, one.outcome, one.why)


def _is_done(run: Run, step: str) -> bool:
    """Whether a step has ended for good: well, skipped by its `when`, or failed where that counts as done."""
    activation = run.current[step]
    if activation.dropped:
        return False
    goes_on = run.steps[step].on_failure == "continue" and activation.status in ("failed", "timed_out")
    return goes_on or activation.status in ("completed", "skipped")


def _began(old: Run, start: str, workflow: Workflow) -> dict[str, frozenset[str]]:
    """The steps that run again for their own sake, each with the instances of it that do."""
    if start == "failed":
        found = _failed(old, (step for step in old.current if not _is_done(old, step)))
        if not any(found.values()):  # nothing but what may fail has failed
            found = _failed(old, (step for step, one in old.current.items() if one.status not in _WELL))
        if not found:
            raise Refused(f"nothing failed in the run {old.id}", mend="name the step to begin at: --resume-from STEP")
        return found
    parsed = parse_instance(start)
    steps = [step.id for step in workflow.steps]
    if parsed is None or parsed[0] not in steps:
        near = nearest(parsed[0] if parsed else start, steps)
        mend = f"did you mean {' or '.join(near)}?" if near else "the steps are " + ", ".join(steps[:20])
        raise NotFound(f"there is no step {shown(start)}", mend=mend)
    step, round, item = parsed
    if item is None:
        return {step: frozenset(id for id, one in old.instances.items() if one.step == step)}
    id = instance_id(step, max(round, old.current[step].round if step in old.current else 1), item)
    if id not in old.instances:
        raise NotFound(f"the run {old.id} has no {id}", mend=f"maestro workflow status {old.id}")
    return {step: frozenset((id,))}


_WELL = ("completed", "skipped")


def _failed(old: Run, steps: Iterator[str]) -> dict[str, frozenset[str]]:
    """Of steps those that began and did not end well, each with the instances that did not."""
    names = {step for step in steps if not old.graph.below[step]}
    bad: dict[str, set[str]] = {step: set() for step in names}
    for one in old.instances.values():
        if one.step in names and one.status not in _WELL and one.round == old.current[one.step].round:
            bad[one.step].add(one.id)
    return {step: frozenset(ids) for step, ids in bad.items() if ids or old.current[step].status not in _WELL}


def _archives(old: Run, reused: Mapping[str, StepEnded], restores: bool) -> dict[str, WorkspaceRestoreWanted]:
    """For what runs again, the restores of workspaces to before it: of each workspace the first one; those of what is
    reused with them.

    Raises Refused where something that runs again has worked in a workspace of which there is none.
    """
    found: dict[str, WorkspaceRestoreWanted] = {}
    seen: set[tuple[str, str]] = set()
    agents: set[str] = set()
    known = {**old.fact.archives, **old.points}
    begun = [one for one in old.instances.values() if one.id not in reused]
    # what the earlier run had taken over itself came before all that it started
    for one in sorted(begun, key=lambda one: one.started_at or (0 if one.id in old.fact.reused else 1 << 62)):
        point = known.get(one.id)
        if point is not None and (point.node, point.workspace) not in seen:
            seen.add((point.node, point.workspace))
            found[one.id] = point
        has_worked = one.started_at and old.steps[one.step].kind in ("agent", "run") and not old.graph.below[one.step]
        if restores and has_worked and point is None and one.agent not in agents and one.status != "skipped":
            mend = "--files keep leaves the workspaces as they are; `snapshot: true` makes such archives"
            raise Refused(f"step {one.id} of run {old.id} has no archive from before it", "--files restore", mend)
        if point is not None:
            agents.add(one.agent)
    for id, point in old.fact.archives.items():  # of what the earlier run was to do again, and never came to
        if id not in old.instances and (point.node, point.workspace) not in seen:
            seen.add((point.node, point.workspace))
            found[id] = point
    return found | {id: known[id] for id in reused if id in known}  # for a run that takes this one up in its turn


def _same(old: Run, step: str, workflow: Workflow) -> None:
    """Raise Refused for a step that is reused, and another one now."""
    now = next((one for one in workflow.steps if one.id == step), None)
    if now is None:
        raise Refused(f"step {step} is gone, and would be reused", mend="begin before it, or give --version")
    if _told(now) != _told(old.steps[step]):
        raise Refused(f"step {step} has changed, and would be reused", mend=f"--resume-from {step}, or --version")


def _told(step: Step) -> Any:
    """What of a step makes its result."""
    return msgspec.structs.replace(
        step, description="", needs=(), on_success=(), on_failure="stop", priority=None, retries=0, timeout=None,
        max_parallel=None, fail_fast=False, again=None, snapshot=False,
    )  # fmt: skip
