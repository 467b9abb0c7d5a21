"""The graph of a workflow's steps: what needs what, in which order, which loops, which steps only run after a failure.

Built without recursion and in time linear in steps and needs, so that thousands of steps, wide or deep, are no matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from maestro.model.workflow.definition import Workflow, listed

END = ("stop", "continue")
"""What `on_failure` of a step may say instead of naming a step."""


class Loop(msgspec.Struct, frozen=True):
    """The loop of a step with `again`. body: all steps on a path from start to end, both included."""

    start: str
    end: str
    body: frozenset[str]


class Graph(msgspec.Struct, frozen=True):
    """Steps and their needs.

    needs, followers: by step, direct ones. order: all steps, each behind its needs; without those of a cycle. cycle:
    the steps of one, in order, () where there is none. handlers: steps that a failure or the end of a run starts.
    below: by step, the handlers that it is or needs. loops: by the step with `again`.
    """

    needs: Mapping[str, tuple[str, ...]]
    followers: Mapping[str, tuple[str, ...]]
    order: tuple[str, ...]
    cycle: tuple[str, ...]
    handlers: frozenset[str]
    below: Mapping[str, frozenset[str]]
    loops: Mapping[str, Loop]

    def before(self, step: str) -> frozenset[str]:
        """All steps that must have ended before a step starts: the closure of its needs."""
        return reached((step,), self.needs) - {step}


def graph_of(workflow: Workflow) -> Graph:
    """The graph of a definition. Names of steps that do not exist are passed over."""
    ids = dict.fromkeys(step.id for step in workflow.steps)
    needs: dict[str, dict[str, None]] = {step: {} for step in ids}
    for one in workflow.steps:
        needs[one.id].update(dict.fromkeys(name for name in listed(one.needs) if name in ids))
        for name in listed(one.on_success):
            if name in ids:
                needs[name][one.id] = None
    followers: dict[str, list[str]] = {step: [] for step in ids}
    for step, names in needs.items():
        for name in names:
            followers[name].append(step)
    named = {one.on_failure for one in workflow.steps} | {workflow.on_failure, workflow.final}
    handlers = frozenset(name for name in named if name in ids)
    order = _sorted(needs, followers)
    below: dict[str, frozenset[str]] = {}
    for step in order:
        own = frozenset((step,)) if step in handlers else frozenset[str]()
        below[step] = own.union(*(below[name] for name in needs[step]))
    forward = {step: tuple(names) for step, names in followers.items()}
    backward = {step: tuple(names) for step, names in needs.items()}
    loops = {
        one.id: Loop(one.again.start, one.id, _body(one.again.start, one.id, forward, backward))
        for one in workflow.steps
        if one.again is not None and one.again.start in ids
    }
    return Graph(backward, forward, order, _cycle(backward, set(ids) - set(order)), handlers, below, loops)


def waiting_cycle(graph: Graph) -> tuple[str, ...]:
    """Steps in a circle, each of which waits for the next one, or for the end of a loop that ends with it; () for none.

    A step outside of a loop waits for its end where it needs a step of the body. Of a graph without cycles.
    """
    loops_of: dict[str, list[Loop]] = {}
    for loop in graph.loops.values():
        for step in loop.body:
            loops_of.setdefault(step, []).append(loop)
    needs = {step: dict.fromkeys(names) for step, names in graph.needs.items()}
    for step, names in graph.needs.items():
        for name in names:
            needs[step].update((loop.end, None) for loop in loops_of.get(name, ()) if step not in loop.body)
    followers: dict[str, list[str]] = {step: [] for step in needs}
    for step, all_needs in needs.items():
        for name in all_needs:
            followers[name].append(step)
    backward = {step: tuple(names) for step, names in needs.items()}
    return _cycle(backward, set(needs) - set(_sorted(needs, followers)))


def reached(starts: Iterable[str], edges: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """All that is reached from the starts, which are included."""
    found = set(starts)
    waiting = deque(found)
    while waiting:
        for name in edges[waiting.popleft()]:
            if name not in found:
                found.add(name)
                waiting.append(name)
    return frozenset(found)


def _body(
    start: str, end: str, followers: Mapping[str, tuple[str, ...]], needs: Mapping[str, tuple[str, ...]]
) -> frozenset[str]:
    return reached((start,), followers) & reached((end,), needs)


def _sorted(needs: Mapping[str, Iterable[str]], followers: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The steps, each behind its needs, else in the order of the definition; those of cycles are left out."""
    open_needs = {step: len(list(names)) for step, names in needs.items()}
    waiting = deque(step for step, count in open_needs.items() if not count)
    order = []
    while waiting:
        step = waiting.popleft()
        order.append(step)
        for name in followers[step]:
            open_needs[name] -= 1
            if not open_needs[name]:
                waiting.append(name)
    return tuple(order)


def _cycle(needs: Mapping[str, tuple[str, ...]], left: set[str]) -> tuple[str, ...]:
    """One cycle among the steps that could not be sorted: from each of them a need leads on, until one comes again."""
    if not left:
        return ()
    path: dict[str, None] = {}
    at = min(left)
    while at not in path:
        path[at] = None
        at = next(name for name in needs[at] if name in left)
    steps = list(path)
    return tuple(reversed(steps[steps.index(at) :]))
