"""The one rule of an agent's health: what each check means, who may say so, and what stands until the next look."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.errors import Refused
from maestro.model.health import (
    Check,
    RememberedWorkspace,
    SeenHeartbeat,
    SeenWorkspace,
    Sight,
    check_kept,
    checks_of,
    decide_checked,
    decide_health_by_nodes,
    decide_taking_work,
    examines,
    is_fit,
    still_lost,
    verdict,
    way_out,
    why_away,
    workspace_check,
)
from maestro.model.monitoring.failsafe import HELD, held
from maestro.model.node import Node, decide_lost
from tests.model.facts import World, agent, node, task


def node_check(row: Agent, nodes: Mapping[str, Node]) -> Check:
    (check,) = [each for each in checks_of(row, Sight(nodes=nodes)) if each.name == "node"]
    return check


def heartbeat_check(row: Agent, nodes: Mapping[str, Node], age_s: float | None, now: int) -> Check:
    sight = Sight(nodes=nodes, heartbeat=SeenHeartbeat(age_s, now))
    (check,) = [each for each in checks_of(row, sight) if each.name == "heartbeat"]
    return check


GOOD = Check("disk", True, "room")
FULL = Check("disk", False, "0 MiB free", False, 0.0, "MiB", 64.0, "make room")


def lost_world() -> World:
    return World(node("n"), node("m"), agent("a"), agent("b", "m"), e.NodeLost("n", "lease"))


def test_a_check_that_fails_makes_it_unhealthy_and_one_that_holds_healthy_again() -> None:
    world = World(node(), agent("a"))
    (event,) = decide_checked(world.agent("a"), [FULL])
    found = e.CheckFound("disk", False, "0 MiB free", 0.0, "MiB", 64.0, "make room")
    assert event.fact == e.AgentHealthChanged("a", False, ("disk",), "0 MiB free", (found,))
    world.happens(event.fact)
    assert decide_checked(world.agent("a"), [Check("disk", False, "other words")]) == [], "it is known"
    (event,) = decide_checked(world.agent("a"), [GOOD, Check("workspace", True, "not of interest")])
    assert event.fact == e.AgentHealthChanged("a", True, checks=(e.CheckFound("disk", True, "room"),))


def test_why_an_agent_is_stopped_is_told_whatever_its_health_becomes() -> None:
    world = World(node(), agent("a"), e.AgentStopped("a", f"{HELD}do this"))
    for check in (FULL, GOOD):
        (event,) = decide_checked(world.agent("a"), [check])
        world.happens(event.fact)
        assert (world.agent("a").healthy, held(world.agent("a"))) == (check.ok, "do this")


def test_another_reason_is_told_once_with_all_that_fails_now() -> None:
    world = World(node(), agent("a"), e.AgentHealthChanged("a", False, ("disk",), "full"))
    gone = Check("workspace", False, "gone")
    (event,) = decide_checked(world.agent("a"), [FULL, gone])
    fact = event.fact
    assert isinstance(fact, e.AgentHealthChanged)
    assert (fact.failed, fact.reason) == (("disk", "workspace"), "0 MiB free; gone")
    assert [check.name for check in fact.checks] == ["disk", "workspace"]
    world.happens(fact)
    assert decide_checked(world.agent("a"), [gone, FULL]) == [], "whatever their order"
    (event,) = decide_checked(world.agent("a"), [GOOD, gone])
    fact = event.fact
    assert isinstance(fact, e.AgentHealthChanged)
    assert (fact.healthy, fact.failed) == (False, ("workspace",))
    assert [(check.name, check.ok) for check in fact.checks] == [("disk", True), ("workspace", False)]


def test_a_check_that_goes_on_to_fail_for_another_reason_is_told_and_what_is_measured_is_none() -> None:
    world = World(node(), agent("a"))
    row = world.agent("a")
    known = RememberedWorkspace("/w/a", row.assigned_at, "ext4:/w/a")
    sights = (GONE, GONE, SeenWorkspace(True, "is now a link to elsewhere"), SeenWorkspace(True, "is no folder"), GONE)
    told = []
    for sight in sights:
        for event in decide_checked(world.agent("a"), [workspace_check(world.agent("a"), sight, known)]):
            assert isinstance(event.fact, e.AgentHealthChanged)
            told.append(event.fact.reason)
            world.happens(event.fact)
    was_there = "/w/a was there and is gone"
    assert told == [was_there, "/w/a is now a link to elsewhere", "/w/a is no folder", was_there]
    world.happens(e.AgentStopped("a", "asked"))
    assert decide_checked(world.agent("a"), [workspace_check(row, sights[2], known)]) == [], "it is stopped for another"


def test_what_a_run_does_ends_it_in_failsafe_mode_and_what_lies_around_it_does_not() -> None:
    world = World(node(), agent("a"), task("t"))
    free = decide_checked(world.agent("a"), [Check("process", False, "is stopped")])[0].fact
    world.decides()
    world.starts("t-0.1")
    facts = [decide_checked(world.agent("a"), [Check(name, False, "")])[0].fact for name in ("process", "store")]
    found = [fact for fact in (free, *facts) if isinstance(fact, e.AgentHealthChanged)]
    assert [(fact.run, fact.task) for fact in found] == [("", ""), ("t-0.1", "t"), ("t-0.1", "t")]
    assert [fact.by_run for fact in found] == [False, True, False]


def test_what_cannot_be_seen_from_here_stays_as_it_was_found() -> None:
    row = World(node(), agent("a"), e.AgentHealthChanged("a", False, ("disk",), "full")).agent("a")
    assert verdict(row, [Check("node", True, "")]).failed == ("disk",)
    both = verdict(row, [Check("node", False, "node n is lost")])
    assert (both.failed, both.reason) == (("disk", "node"), "disk failed; node n is lost")
    assert decide_checked(row, []) == []


def test_agents_of_a_lost_node_are_unhealthy_until_it_is_back() -> None:
    world = lost_world()
    plan = world.plan
    events = decide_health_by_nodes(plan.agents.values(), plan.nodes)
    assert [event.subject for event in events] == ["agent:a"]
    world.happens(*(event.fact for event in events))
    assert world.agent("a").state == "failed" and not is_fit(world.agent("a"))
    assert decide_health_by_nodes(plan.agents.values(), plan.nodes) == []
    world.happens(node("n"))
    (event,) = decide_health_by_nodes(plan.agents.values(), plan.nodes)
    assert event.fact == e.AgentHealthChanged("a", True, checks=(e.CheckFound("node", True, "node n is up"),))


def test_a_node_that_left_in_order_is_no_illness() -> None:
    world = World(node(), agent("a"), e.NodeLeft("n", "stopped"))
    assert node_check(world.agent("a"), world.plan.nodes).ok
    assert node_check(World(agent("free", None)).agent("free"), {}).ok


def test_what_makes_an_agent_take_work_again_does_not_heal_its_node() -> None:
    nodes = lost_world().plan.nodes
    (event,) = still_lost("a", nodes["n"])
    assert event.fact == e.AgentHealthChanged("a", False, ("node",), "node n is lost")
    assert event.expected is None, "it follows the restart in the same append"
    assert still_lost("a", nodes["m"]) == still_lost("a", None) == []


def test_the_late_word_of_a_lost_node_about_its_agent_is_refused() -> None:
    world = World(node(), agent("a"))
    late = decide_checked(world.agent("a"), [FULL])
    row = world.log.fold().nodes["n"]
    lost = [*decide_lost(row, "lease"), *decide_health_by_nodes([world.agent("a")], lost_world().plan.nodes)]
    assert world.log.append(lost) is not None
    assert world.log.append(late) is None


@pytest.mark.parametrize(
    ("age_s", "joined_at", "ok"),
    [(3.0, 0, True), (59.9, 0, True), (60.0, 0, False), (None, 0, False), (None, 950_000, True), (61.0, 950_000, True)],
)
def test_a_heartbeat_is_missed_where_a_node_is_up_long_enough_to_have_beaten(
    age_s: float | None, joined_at: int, ok: bool
) -> None:
    world = World(node(), agent("a"))
    row = world.agent("a")
    world.plan.nodes["n"].joined_at, row.assigned_at = joined_at, 0
    assert heartbeat_check(row, world.plan.nodes, age_s, 1_000_000).ok is ok


def test_an_agent_that_was_assigned_just_now_need_not_have_had_a_heartbeat() -> None:
    world = World(node(), agent("a"))
    row = world.agent("a")
    world.plan.nodes["n"].joined_at, row.assigned_at = 0, 950_000
    assert heartbeat_check(row, world.plan.nodes, None, 1_000_000).ok
    assert not heartbeat_check(row, world.plan.nodes, None, 1_050_000).ok


def test_a_node_that_is_down_need_not_beat() -> None:
    world = World(node(), agent("a"), e.NodeLeft("n", "stopped"))
    assert heartbeat_check(world.agent("a"), world.plan.nodes, None, 10**12).ok


THERE = SeenWorkspace(there=True, shown="ext4:/w/a")
GONE = SeenWorkspace(there=False)


def test_a_workspace_that_is_yet_to_be_made_is_fine_and_one_that_is_gone_is_not() -> None:
    row = World(node(), agent("a")).agent("a")
    known = RememberedWorkspace("/w/a", row.assigned_at, "ext4:/w/a")
    assert workspace_check(row, GONE, None).ok
    assert not workspace_check(row, GONE, known).ok
    assert workspace_check(row, GONE, RememberedWorkspace("/w/other", row.assigned_at)).ok
    assert workspace_check(row, THERE, None).ok and workspace_check(row, THERE, known).ok


def test_who_assigns_again_may_have_it_made_anew() -> None:
    world = World(node(), agent("a"))
    known = RememberedWorkspace("/w/a", world.agent("a").assigned_at)
    world.happens(agent("a"))
    assert workspace_check(world.agent("a"), GONE, known).ok


def test_one_in_which_a_run_has_been_is_gone_even_if_nobody_remembers_it() -> None:
    world = World(node(), agent("a"), task("t"))
    world.decides()
    world.runs("t-0.1")
    assert not workspace_check(world.agent("a"), GONE, None).ok


def test_a_link_a_file_or_another_mount_in_its_place_is_told() -> None:
    row = World(node(), agent("a")).agent("a")
    known = RememberedWorkspace("/w/a", row.assigned_at, "ext4:/w/a")
    assert not workspace_check(row, SeenWorkspace(there=True, problem="is now a link to elsewhere"), known).ok
    other = workspace_check(row, SeenWorkspace(there=True, shown="tmpfs:/"), known)
    assert not other.ok and "tmpfs:/, before ext4:/w/a" in other.detail
    assert workspace_check(row, SeenWorkspace(there=True), known).ok, "a system that does not tell is no reason"


def test_an_assignment_that_names_no_workspace_keeps_one_that_is_there() -> None:
    row = World(node(), agent("a"), e.AgentHealthChanged("a", False, ("workspace",), "/w/a is gone")).agent("a")
    with pytest.raises(Refused, match="/w/a is gone") as caught:
        check_kept(row, None)
    assert "--to-workspace /w/a" in (caught.value.mend or "")
    check_kept(row, "/w/a")
    check_kept(None, None)


def test_an_agent_whose_node_is_away_takes_nothing_and_says_why_but_on_that_node_itself() -> None:
    world = World(node(), agent("a"))
    row, nodes = world.agent("a"), world.plan.nodes
    assert not why_away(row, nodes, "m")
    world.happens(e.NodeLeft("n", "drained"))
    assert (why_away(row, nodes, "m"), why_away(row, nodes, "n")) == ("node n has left", "")
    world.happens(e.NodeLost("n"))
    assert why_away(row, nodes, "m") == "node n is lost"


@pytest.mark.parametrize(
    ("failed", "words"), [("node", "--node"), ("workspace", "state restore"), ("disk", "agent health a")]
)
def test_each_illness_has_a_way_out(failed: str, words: str) -> None:
    row = World(node(), agent("a"), e.AgentHealthChanged("a", False, (failed,), "why")).agent("a")
    assert words in way_out(row)


def test_a_node_examines_its_own_agents_and_free_ones_where_no_other_node_could() -> None:
    world = World(node("n"), node("m"), agent("a"), agent("free", None), agent("busy", None), task("t", "busy"))
    nodes = world.plan.nodes
    assert examines("n", world.agent("a"), nodes) and not examines("m", world.agent("a"), nodes)
    assert not examines("n", world.agent("free"), nodes)
    world.releases()
    world.happens(e.NodeLeft("m", "shutdown"))
    assert examines("n", world.agent("free"), nodes) and not examines("n", world.agent("busy"), nodes)


def test_an_agent_that_is_restarted_stays_unhealthy_where_its_node_is_lost() -> None:
    world = lost_world()
    restarted, ill = decide_taking_work("a", world.agent("a"), world.plan.nodes)
    assert restarted.fact == e.AgentRestarted("a")
    assert ill.fact == e.AgentHealthChanged("a", False, ("node",), "node n is lost")
    assert [event.fact for event in decide_taking_work("b", world.agent("b"), world.plan.nodes)] == [
        e.AgentRestarted("b")
    ]
