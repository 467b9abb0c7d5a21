"""Requests for permission: asked once, answered once, gone with their run."""

from __future__ import annotations

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.facts.permission import PermissionOption, TaskPermissionAnswered, TaskPermissionAsked
from maestro.model.permissions.answers import option_of
from maestro.model.permissions.requests import decide_answer, decide_ask, decide_lapse
from maestro.model.task_row import OPEN_MAX
from tests.model.facts import World, agent, node, task

OPTIONS = (
    PermissionOption("y", "allow_once"),
    PermissionOption("Y", "allow_always"),
    PermissionOption("n", "reject_once"),
)


def asks(number: int) -> TaskPermissionAsked:
    return TaskPermissionAsked("t", "t-0.1", number, f"act {number}", OPTIONS)


def running(*facts: e.AnyFact) -> World:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    return world.starts("t-0.1").happens(*facts)


def answered(world: World, answer: str, number: int | None = None) -> TaskPermissionAnswered:
    (event,) = decide_answer("t", world.task("t"), answer, number, "why")
    assert event.subject == "task:t" and isinstance(event.fact, TaskPermissionAnswered)
    return event.fact


def test_what_a_run_asks_is_recorded_once_and_while_it_is_on() -> None:
    world = running()
    (event,) = decide_ask(world.task("t"), asks(4))
    assert event.fact == asks(4)
    world.happens(event.fact)
    assert decide_ask(world.task("t"), asks(4)) == []
    with pytest.raises(Refused, match="something else"):  # an answer to one thing must not count for another
        decide_ask(world.task("t"), msgspec.structs.replace(asks(4), title="rm -rf /"))
    world.happens(*(asks(number) for number in range(5, 4 + OPEN_MAX)))
    with pytest.raises(Refused, match="at once"):
        decide_ask(world.task("t"), asks(99))
    world.ends("t-0.1", "ok")
    with pytest.raises(Refused, match="is not on"):
        decide_ask(world.task("t"), asks(5))


def test_the_first_answer_counts_and_the_same_again_changes_nothing() -> None:
    world = running(asks(4))
    fact = answered(world, "allow")
    assert (fact.number, fact.option, fact.reason) == (4, "y", "why")
    world.happens(fact)
    assert decide_answer("t", world.task("t"), "allow", None, "") == []
    with pytest.raises(Refused, match="was answered before: allow"):
        decide_answer("t", world.task("t"), "reject", None, "")
    assert decide_lapse(world.task("t"), "t-0.1", 4, "late") == []


def test_several_need_a_number_and_an_answer_that_is_no_option_names_those_that_are() -> None:
    world = running(asks(4), asks(5))
    with pytest.raises(Invalid, match="several"):
        decide_answer("t", world.task("t"), "allow", None, "")
    assert answered(world, "allow-always", 5).option == "Y"
    with pytest.raises(Invalid) as refused:
        decide_answer("t", world.task("t"), "maybe", 4, "")
    assert refused.value.mend == "answer with one of allow, allow-always, reject, y, Y, n"


def test_nothing_is_answered_where_nothing_is_asked() -> None:
    with pytest.raises(NotFound):
        decide_answer("t", None, "allow", None, "")
    world = running(asks(4)).ends("t-0.1", "ok")
    with pytest.raises(Refused, match="asks for nothing"):
        decide_answer("t", world.task("t"), "allow", None, "")


def test_a_request_lapses_into_a_rejection() -> None:
    world = running(asks(4))
    (event,) = decide_lapse(world.task("t"), "t-0.1", 4, "late")
    assert event.fact == TaskPermissionAnswered("t", "t-0.1", 4, "reject", "n", "late")


def test_of_answered_requests_only_the_newest_are_kept() -> None:
    world = running()
    for number in range(1, 3 * OPEN_MAX):
        world.happens(asks(number), TaskPermissionAnswered("t", "t-0.1", number, "allow", "y"))
    kept = world.slot("t").runs[0].permissions
    assert [kept[0].number, kept[-1].number, len(kept)] == [2 * OPEN_MAX - 1, 3 * OPEN_MAX - 1, OPEN_MAX + 1]


def test_an_answer_means_the_best_option_that_there_is() -> None:
    assert option_of("allow", [("Y", "allow_always")]) == "Y"
    assert option_of("allow-always", [("y", "allow_once")]) == ""
    assert option_of("custom", [("custom", "")]) == "custom"
