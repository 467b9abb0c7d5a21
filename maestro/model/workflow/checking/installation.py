"""Checks of a definition against what is there: agents, types, pools, and the workflows that it runs as children."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from maestro.model.errors import Invalid
from maestro.model.target import check_target, is_pool, who
from maestro.model.workflow.checks import Finding, Path, near
from maestro.model.workflow.definition import Step, Workflow
from maestro.model.workflow.stored.params import misfits
from maestro.model.workflow.template import Template

RUN_FOLDER = "run"


class Surroundings(msgspec.Struct, frozen=True):
    """What a definition may name here.

    targets: agents and pools that agents answer to, each with the types of these. types: that can be had, also without
    an agent; silent: those that tell no usage; resuming: those that can go on with a session. workflows: stored
    ones by id, as far as they are below the definition; names: of all stored ones. guarded: types whose workspaces go
    back after a bad run.
    """

    targets: Mapping[str, frozenset[str]]
    types: frozenset[str]
    silent: frozenset[str]
    resuming: frozenset[str]
    workflows: Mapping[str, Workflow]
    names: frozenset[str] = frozenset()
    guarded: frozenset[str] = frozenset()

    def types_of(self, target: str) -> frozenset[str]:
        """The types that may work for a target; none for one that is not known."""
        target = who(target)
        found = self.targets.get(target)
        slug = target.removeprefix("type:")
        return found or (frozenset((slug,)) if slug in self.types else frozenset())


class Noted(msgspec.Struct, frozen=True):
    """What was found. level: `error`, `warning` for what may be right elsewhere, or `notice`.

    if_written: it counts only where the file has the key itself, and not by default.
    """

    finding: Finding
    level: str
    if_written: bool = False


def installation_findings(
    workflow: Workflow, here: Surroundings, name: str = "", is_offline: bool = False
) -> Iterator[Noted]:
    """What is wrong with a definition on this installation. name: as what it is stored; is_offline: agents and children
    may be elsewhere.
    """
    unknown = "warning" if is_offline else "error"
    for at, step in enumerate(workflow.steps):
        path: Path = ("steps", at)
        for one in _agents(step, path, here):
            yield Noted(one, unknown)
        yield from _sessions(step, path, here)
        yield from _guarded(step, path, here)
        yield from _own_failure(step, path)
        if step.workflow:
            yield from _child(step, path, here, unknown)
    cycle = cycle_of(name, workflow, here.workflows)
    if cycle:
        at = next(at for at, step in enumerate(workflow.steps) if step.workflow == cycle[1])
        what = f"the workflows run each other: {' → '.join(cycle)}"
        yield Noted(Finding(("steps", at, "workflow"), what, "for a loop use `again`"), "error")
    if workflow.budget is not None:
        for one in _silent(workflow, here):
            yield Noted(one, "notice")


def agents_of(step: Step) -> Iterator[tuple[Path, str]]:
    """The agents that a step names, each with its path within the step."""
    for at, target in enumerate(step.agents):
        yield ("agent", at) if isinstance(step.agent, tuple) else ("agent",), target


def unknown_target(target: str, here: Surroundings) -> tuple[str, str] | None:
    """What is wrong with the name of an agent, a type or a pool, and what to write instead; None for nothing."""
    try:
        check_target(target)
    except Invalid as error:
        return error.what, error.mend
    target = who(target)
    if here.types_of(target) or target in here.targets:
        return None
    kind, colon, name = target.partition(":")
    if not colon:
        names = {one for one in here.targets if not is_pool(one)} | here.types
        return f"unknown agent `{target[:60]}`", near(target, names)
    if kind == "type":
        names = {one.removeprefix("type:") for one in here.targets if one.startswith("type:")} | here.types
        return f"unknown agent type `{name[:60]}`", near(name, names)
    known = [one for one in here.targets if one.startswith(f"{kind}:")]
    has = {"role": f"--role {name}", "capability": f"`capabilities: [{name}]` in its type"}[kind]
    hint = near(target, known)
    mend = hint if hint.startswith("did") else f"assign one: maestro agent assign, with {has}"
    return f"no agent has the {kind} `{name[:60]}`", mend


def _agents(step: Step, path: Path, here: Surroundings) -> Iterator[Finding]:
    for below, target in agents_of(step):
        if found := unknown_target(target, here):
            yield Finding((*path, *below), *found)
    place = step.place
    if not place or place == RUN_FOLDER or "{{" in place:
        return
    if is_pool(place):
        yield Finding((*path, "in"), f"`{place[:60]}` is a pool", "name one agent, or `run` for the run's own folder")
    elif found := unknown_target(place, here):
        yield Finding((*path, "in"), *found)


def _sessions(step: Step, path: Path, here: Surroundings) -> Iterator[Noted]:
    """Agents that cannot go on with a session, where retries say `continue`."""
    if not step.retry.resume:
        return
    for target in step.agents:
        types = here.types_of(target)
        cannot = sorted(types - here.resuming)
        if cannot:
            names = " and ".join(f"`{name}`" for name in cannot)
            what = f"`{target[:60]}` cannot go on with a session: its type {names} has no `resume`"
            finding = Finding((*path, "retries", "continue"), what, "remove it, or name another agent")
            yield Noted(finding, "error" if len(cannot) == len(types) else "warning")


def _guarded(step: Step, path: Path, here: Surroundings) -> Iterator[Noted]:
    """New attempts that are to find what the last one left, in workspaces that go back before them."""
    if step.place == RUN_FOLDER or isinstance(step.retries, int):
        return
    owners = (step.place,) if step.place else step.agents
    for target in owners:
        guarded = sorted(here.types_of(target) & here.guarded)
        if not guarded:
            continue
        why = f"type `{guarded[0]}` is in failsafe mode: the workspace of `{target[:60]}` goes back before each attempt"
        if step.retry.workspace == "keep":
            mend = "write `workspace: restore`, or `failsafe: false` in the type"
            yield Noted(Finding((*path, "retries", "workspace"), why, mend), "error", if_written=True)
        if step.retry.resume:
            mend = "remove it, or write `failsafe: false` in the type"
            yield Noted(Finding((*path, "retries", "continue"), why, mend), "error", if_written=True)
        return


def _own_failure(step: Step, path: Path) -> Iterator[Noted]:
    """A loop whose `until` asks how its own step ended, though a failure of that step ends the loop before."""
    if step.again is None or step.on_failure != "stop":
        return
    reads = [read.keys for read in Template(step.again.until, "expression").reads if read.root == "steps"]
    if any(keys[:1] == (step.id,) and keys[1:2] in (("exit_code",), ("status",)) for keys in reads):
        what = f"a failure of `{step.id}` ends the loop before `until` is asked"
        finding = Finding(
            (*path, "again", "until"), what, "add `on_failure: continue`, or answer by `json` with exit 0"
        )
        yield Noted(finding, "warning")


def _child(step: Step, path: Path, here: Surroundings, unknown: str) -> Iterator[Noted]:
    child = here.workflows.get(step.workflow)
    if child is None:
        hint = near(step.workflow, here.names)
        mend = hint if hint.startswith("did") else f"maestro workflow create {step.workflow[:60]} --definition FILE"
        yield Noted(Finding((*path, "workflow"), f"unknown workflow `{step.workflow[:60]}`", mend), unknown)
        return
    for name in step.params:
        if name not in child.vars:
            what = f"workflow `{step.workflow}` has no var `{name[:60]}`"
            yield Noted(Finding((*path, "with", name), what, near(name, list(child.vars)) or "it has none"), "error")
    for one in misfits(step.params, child, (*path, "with")):
        yield Noted(one, "error")
    if step.outputs and not child.result:
        what = f"workflow `{step.workflow}` tells no result, so it has no json"
        yield Noted(Finding((*path, "outputs"), what, "give it `result: …`"), "error")


def cycle_of(name: str, workflow: Workflow, stored: Mapping[str, Workflow]) -> tuple[str, ...]:
    """The first way by which a workflow runs itself: its name, those below it, its name again; () where there is none.

    One that only runs others which run each other is told, too: from its own name into their circle.
    """
    way = [name or "this"]
    ways = [iter(children_of(workflow))]
    done: set[str] = set()
    while ways:
        child = next(ways[-1], None)
        if child is None:
            ways.pop()
            done.add(way.pop())
        elif child in way:
            return (*way, child)
        elif child not in done and child in stored:
            way.append(child)
            ways.append(iter(children_of(stored[child])))
    return ()


def children_of(workflow: Workflow) -> tuple[str, ...]:
    """The workflows that the steps of one run, each once."""
    return tuple(dict.fromkeys(step.workflow for step in workflow.steps if step.workflow))


def below(workflow: Workflow, stored: Mapping[str, Workflow]) -> Iterable[str]:
    """All workflows below one that are stored, each once."""
    found: dict[str, None] = {}
    waiting = list(children_of(workflow))
    while waiting:
        name = waiting.pop()
        if name not in found and name in stored:
            found[name] = None
            waiting += children_of(stored[name])
    return found


def _silent(workflow: Workflow, here: Surroundings) -> Iterator[Finding]:
    """Agents that tell no usage, where there is a budget: it cannot count what they use."""
    for at, step in enumerate(workflow.steps):
        for path, target in agents_of(step):
            if here.types_of(target) & here.silent:
                what = f"`{target[:60]}` tells no usage, so the budget does not count it"
                yield Finding(("steps", at, *path), what)
        if step.workflow in here.workflows:
            child = here.workflows[step.workflow]
            inside = [child, *(here.workflows[name] for name in below(child, here.workflows))]
            quiet = {
                target
                for one in inside
                for each in one.steps
                for target in each.agents
                if here.types_of(target) & here.silent
            }
            if quiet:
                names = ", ".join(f"`{name[:60]}`" for name in sorted(quiet))
                yield Finding(
                    ("steps", at, "workflow"), f"in it {names} tell no usage, so the budget does not count them"
                )
