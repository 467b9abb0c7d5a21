"""What a process inside a run may dispatch."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition, Delegate
from maestro.model.dispatch import SAME
from maestro.model.errors import MaestroError, NotFound, Refused
from maestro.model.scheduling.delegation import MAY_SAY, Delegation, Delegator, decide_delegation
from maestro.model.task import Task
from tests.model.facts import World, agent, task

AGENTS = list(World(agent("boss"), agent("mid"), agent("w", role="tester")).log.fold().agents.values())
MAY = Delegate(("w", "mid", "role:tester"), 1, 3)


def above(run: str = "t-0.1", agent: str = "boss", delegate: Delegate | None = MAY) -> Delegator:
    return Delegator(run, agent, agent, f"/{agent}", delegate)


def made(key: str | None = None) -> Task:
    return Task(
        id=f"made-{key}", version=1, position=1, title="", status="queued", slots=[], dispatched_at=1, actor="", key=key
    )


def decided(
    wanted: e.TaskDispatched, runs: list[Delegator], tasks: list[Task | None], agents: list[Agent] = AGENTS
) -> e.TaskDispatched:
    return decide_delegation(wanted, Delegation(runs, tasks, agents), lambda number: f"id-{number}")


def refused(wanted: e.TaskDispatched, runs: list[Delegator], tasks: list[Task | None], kind: type[MaestroError]) -> str:
    with pytest.raises(kind) as caught:
        decided(wanted, runs, tasks)
    return caught.value.line()


@pytest.mark.parametrize(
    ("tasks", "id"),
    [
        ([None, None, None], "id-1"),
        ([made(), None, None], "id-2"),
        ([None, made(), None], "id-1"),
        ([made(), made(), None], "id-3"),
    ],
)
def test_a_dispatch_gets_the_first_number_that_is_free(tasks: list[Task | None], id: str) -> None:
    assert decided(task("?", "w"), [above()], tasks) == task(id, "w")


def test_no_more_than_the_type_says() -> None:
    line = refused(task("?", "w"), [above()], [made(), made(), made()], Refused)
    assert "has dispatched 3 tasks" in line and "`max` in `delegate` of the type boss" in line


def test_a_key_stands_for_the_task_that_it_made_though_no_number_is_free() -> None:
    wanted = msgspec.structs.replace(task("?", "w"), key="k")
    assert decided(wanted, [above()], [made(), made("k"), made()]).task == "made-k"
    assert decided(wanted, [above()], [made("other"), None, None]).task == "id-2"


def test_a_key_stands_for_its_task_though_fewer_may_be_made_by_now() -> None:
    wanted = msgspec.structs.replace(task("?", "w"), key="k")
    known = Delegation([above()], [made(), made(), made()], AGENTS, [made(), made("k"), None])
    assert decide_delegation(wanted, known, str).task == "made-k"


def test_a_type_without_the_key_delegates_nothing() -> None:
    assert "`state` only" in refused(task("?", "w"), [above(delegate=None)], [], Refused)


@pytest.mark.parametrize("targets", [("boss",), ("type:w",), ("w,label:gpu",), ("w", "mid"), ("W",)])
def test_a_target_is_one_that_the_type_names_letter_by_letter(targets: tuple[str, ...]) -> None:
    assert "use one of w, mid, role:tester" in refused(task("?", *targets), [above()], [None], Refused)


OTHER: dict[str, Any] = {
    "depends_on": ("x",),
    "priority": 1,
    "retries": 1,
    "verify": "true",
    "trace": True,
    "forced": True,
    "on_lost": "fail",
}


@pytest.mark.parametrize("field", sorted(SAME.keys() - MAY_SAY))
def test_what_would_reach_beyond_its_right_is_not_its_own_to_say(field: str) -> None:
    wanted = msgspec.structs.replace(task("?", "w"), **{field: OTHER[field]})
    assert f"may not set {SAME[field]}" in refused(wanted, [above()], [None], Refused)


def test_time_and_budget_it_may_say() -> None:
    wanted = msgspec.structs.replace(task("?", "w"), timeout_s=5.0, budget_tokens=5, budget_cost=1.0)
    assert decided(wanted, [above()], [None]).timeout_s == 5.0


@pytest.mark.parametrize(
    ("own", "first", "goes"),
    [(1, 1, False), (1, 2, True), (5, 1, False), (2, 5, True), (1, None, False)],
)
def test_every_run_above_must_let_so_many_generations_follow(own: int, first: int | None, goes: bool) -> None:
    root = None if first is None else Delegate(("mid",), first)
    runs = [above("m-0.1", "mid", Delegate(("w",), own)), above("t-0.1", "boss", root)]
    if goes:
        assert decided(task("?", "w"), runs, [None]).task == "id-1"
    else:
        line = refused(task("?", "w"), runs, [None], Refused)
        assert f"run t-0.1 of the type boss lets {first or 0} generations" in line


def test_who_works_until_the_run_ends_could_not_begin() -> None:
    loop = Delegate(("boss", "mid", "w"), 3)
    runs = [above("m-0.1", "mid", loop), above("t-0.1", "boss", loop)]
    for name in ("mid", "boss"):
        assert "could not begin before" in refused(task("?", name), runs, [None], Refused)
    beside = [msgspec.structs.replace(one, workspace="/mid") if one.id == "w" else one for one in AGENTS]
    with pytest.raises(Refused, match="could not begin before"):
        decided(task("?", "w"), runs, [None], beside)
    assert decided(task("?", "w"), runs, [None]).task == "id-1"


def test_a_run_makes_no_agent() -> None:
    line = refused(task("?", "new"), [above(delegate=Delegate(("new",)))], [None], NotFound)
    assert "maestro agent assign" in line


@pytest.mark.parametrize("recorded", [None, 1, {}, {"to": "w"}, {"to": ["w"], "depth": "9"}])
def test_a_right_that_cannot_be_read_is_none(recorded: object) -> None:
    assert AgentDefinition({"delegate": recorded}).delegate is None
    assert AgentDefinition({"delegate": {"to": ["w"]}}).delegate == Delegate(("w",), 1, 10)
