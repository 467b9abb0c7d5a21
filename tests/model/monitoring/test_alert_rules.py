"""Each rule of alerts: when there is something to tell, when there is not, and when nobody can say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from maestro.cli import app as command_line
from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.events import AnyFact, Event
from maestro.model.monitoring.alert_conditions import (
    APPROVAL_MS_MAX,
    OUTAGE_TOLD_MS,
    OVERDUE_MS,
    READY_MS_MAX,
    STALLED_MS,
    Approval,
    Due,
    Lacking,
    Outage,
    Overspent,
    Ready,
    World,
    conditions,
    gone,
)
from maestro.model.monitoring.alert_decisions import Batch, Steadiness, new_ones
from maestro.model.monitoring.alert_moments import Rows, ended_unseen, over, told
from maestro.model.monitoring.alert_rules import HOUR_MS, NAMES, RULES, Condition
from maestro.model.monitoring.failsafe import HELD
from maestro.model.node import Node
from maestro.model.task import Run, Slot, Task
from maestro.model.workflow.run_header import RunHeader

NOW = 1_800_000_000_000
HOUR = NOW // HOUR_MS
LASTING: dict[str, World] = {
    "agent_unhealthy": World(NOW, {"a": Agent("a", 1, "t", {}, "/r", healthy=False, failed_checks=["disk"])}),
    "failsafe_kept": World(NOW, {"a": Agent("a", 1, "t", {}, "/r", stopped=True, reason=f"{HELD}it was changed")}),
    "over_budget": World(NOW, overspent=[Overspent("R", "deploy", "9 of a budget of 1 are spent", "cost=9.01")]),
    "stalled_queue": World(NOW, ready=Ready("T", "do it", NOW)),
    "label_missing": World(NOW, lacking=[Lacking("big,gpu", "T", "do it", NOW)]),
    "oldest_ready": World(NOW, running=1, ready=Ready("T", "do it", NOW - READY_MS_MAX - 1)),
    "approval_waiting": World(NOW, approvals=[Approval("R", "deploy", "ask", NOW - APPROVAL_MS_MAX - 1)]),
    "node_silent": World(NOW, nodes={"n": Node("n", 1, "h", "i", 1, 1, "b", status="lost")}),
    "disk": World(NOW, nodes={"n": Node("n", 1, "h", "i", 1, 1, "b")}, seen={"n": {"disk_low": "1 MiB free"}}),
    "store": World(NOW, seen={"n": {"store": "maxmemory-policy is allkeys-lru", "disk_low": ""}}),
    "copies_damaged": World(
        NOW, nodes={"n": Node("n", 1, "h", "i", 1, 1, "b")}, seen={"n": {"disk_low": "", "copies": "packs/1 is gone"}}
    ),
    "snapshot_overdue": World(NOW, snapshots=[Due("nightly", NOW - OVERDUE_MS - 1)], newest=NOW - OVERDUE_MS - 2),
    "replay_mismatch": World(NOW, verified={"ok": "", "why": "tasks: row t"}),
    "spend_rate": World(NOW, spend={HOUR: 10.0}),
}
TASK = Task("T", 7, 1, "do it", "failed", [Slot("a", runs=[Run("T-0.1", 1, "a", "n", 2, 6, evidence="exit 3")])], 1, "")
ROWS = Rows({"T": TASK}, {"R": RunHeader("R", 7, 1, "deploy", 1, "failed", 1)}, {"s": "n"})
MOMENTS: dict[str, AnyFact] = {
    "task_failed": e.TaskFinished("T", "failed", "exit"),
    "task_timed_out": e.TaskFinished("T", "timed_out", "timeout"),
    "over_budget": e.TaskFinished("T", "failed", "budget"),
    "parked": e.TaskFinished("T", "failed", "parked"),
    "snapshot_failed": e.SnapshotFailed("s", "no room"),
    "schedule_missed": e.ScheduleSkipped("nightly", NOW, 3),
    "webhook_disabled": e.WebhookDisabled("w1", "410"),
}


def event(fact: AnyFact, seq: int = 7) -> Event:
    return Event(seq, "x", NOW, "", "", 0, fact)


def sure(world: World) -> list[Condition]:
    return [one for one in conditions(world) if not one.unsure]


def all_found() -> dict[str, Condition]:
    found = {name: told(event(fact), ROWS) for name, fact in MOMENTS.items()}
    of_world = {one.name: one for world in LASTING.values() for one in sure(world)}
    return {name: one for name, one in found.items() if one is not None} | of_world


def test_every_rule_has_something_that_it_tells() -> None:
    assert all_found().keys() == set(NAMES) == set(LASTING) | set(MOMENTS)
    for name, world in LASTING.items():
        assert [one.name for one in sure(world)] == [name], name
        assert not sure(world)[0].momentary
    for name, fact in MOMENTS.items():
        found = told(event(fact), ROWS)
        assert found is not None and found.name == name and found.momentary and found.since == NOW
        assert RULES[name].momentary or name == "over_budget"


def test_an_overspent_run_is_told_with_what_it_spent_and_the_addition_that_it_needs() -> None:
    (found,) = sure(LASTING["over_budget"])
    assert found.why == "9 of a budget of 1 are spent"
    assert found.command == "maestro workflow resume R --add-budget cost=9.01"
    (found,) = sure(World(NOW, overspent=[Overspent("R", "deploy")]))  # its budget was raised meanwhile
    assert found.command == "maestro workflow resume R"


@pytest.mark.parametrize(
    ("limits", "command"),
    [
        ({"budget_tokens": 10}, "maestro task retry T --budget-tokens 30"),
        ({"budget_cost": 1.0}, "maestro task retry T --budget-cost 2.5"),
        ({"budget_tokens": 15}, "maestro task status T   # raise the limit that its evidence names, then: "),
        ({}, "maestro task status T   # raise the limit that its evidence names, then: "),
    ],
)
def test_a_task_that_has_spent_its_budget_is_retried_with_a_larger_one(limits: dict[str, Any], command: str) -> None:
    """A retry with the same one would spend it again, and end the same way."""
    run = Run("T-0.1", 1, "a", "n", 2, 6, input_tokens=10, output_tokens=5, cost=1.25)
    task = Task("T", 7, 1, "do it", "failed", [Slot("a", runs=[run])], 1, "", **limits)
    found = told(event(e.TaskFinished("T", "failed", "budget")), Rows({"T": task}, {}, {}))
    assert found is not None and found.command.startswith(command)


def test_where_all_is_well_nothing_is_told() -> None:
    well = World(
        NOW,
        {"a": Agent("a", 1, "t", {}, "/r"), "s": Agent("s", 1, "t", {}, "/r", healthy=False, stopped=True)},
        {"n": Node("n", 1, "h", "i", 1, 1, "b"), "l": Node("l", 1, "h", "i", 1, 1, "b", status="left")},
        {"n": {"disk_low": "", "store": ""}},
        running=1,
        ready=Ready("T", "do it", NOW - READY_MS_MAX),
        approvals=[Approval("R", "deploy", "ask", NOW - APPROVAL_MS_MAX)],
        snapshots=[Due("nightly", NOW - OVERDUE_MS - 1), Due("new", 0)],
        newest=NOW - OVERDUE_MS,
        spend={HOUR: 30.0} | {HOUR - 2 - at: 10.0 for at in range(24)},
        verified={"ok": "1", "why": ""},
        outage=Outage(NOW - OUTAGE_TOLD_MS - 9_000, NOW - OUTAGE_TOLD_MS - 1),
    )
    assert [one.alert for one in conditions(well)] == ["spend_rate:"]  # of which nobody can say: not over, nor begun
    assert not sure(well)


def test_an_agent_that_is_ill_of_its_lost_node_only_is_told_by_the_node() -> None:
    lost = Node("n", 1, "h", "i", 1, 1, "b", status="lost")
    agents = {str(at): Agent(str(at), 1, "t", {}, "/r", healthy=False, failed_checks=["node"]) for at in range(9)}
    assert [one.alert for one in sure(World(NOW, agents, {"n": lost}))] == ["node_silent:n"]


@pytest.mark.parametrize(("lasted", "ago", "is_told"), [(4_999, 0, False), (5_000, 0, True), (60_000, 60_001, False)])
def test_an_outage_of_the_store_is_told_when_it_is_back(lasted: int, ago: int, is_told: bool) -> None:
    found = sure(World(NOW, outage=Outage(NOW - ago - lasted, NOW - ago)))
    assert [one.alert for one in found] == (["store:"] if is_told else [])


@pytest.mark.parametrize(
    ("spend", "says"),
    [
        ({HOUR: 9.99}, "unsure"),
        ({HOUR: 4.99}, "calm"),
        ({HOUR - 1: 40.0, HOUR - 2: 240.0}, "unsure"),
        ({HOUR - 1: 41.0, HOUR - 2: 240.0}, "told"),
        ({HOUR - 26: 240.0, HOUR: 10.0}, "told"),
        ({HOUR: 21.0, HOUR - 2: 240.0}, "unsure"),
        ({HOUR: 20.0, HOUR - 2: 240.0}, "calm"),
    ],
)
def test_the_spend_rate_is_that_of_an_hour_against_the_day_before_it(spend: dict[int, float], says: str) -> None:
    found = [one for one in conditions(World(NOW, spend=spend)) if one.name == "spend_rate"]
    assert [("unsure" if one.unsure else "told") for one in found] == ([] if says == "calm" else [says])


def test_a_queue_is_stalled_only_when_it_has_been_for_a_minute() -> None:
    steadiness, found = Steadiness(), conditions(LASTING["stalled_queue"])
    told_at = []
    for passed in range(0, STALLED_MS + 5_000, 5_000):
        steadiness.look(found, (), NOW + passed)
        told_at += [passed for one in new_ones(found, {}, steadiness, NOW + passed) if one.name == "stalled_queue"]
    assert told_at == [STALLED_MS]
    steadiness.look((), (), NOW + STALLED_MS + 5_000)
    steadiness.look(found, (), NOW + STALLED_MS + 10_000)
    assert not new_ones(found, {}, steadiness, NOW + STALLED_MS + 10_000)


FORGOTTEN = Node("n", 1, "h", "i", 1, 1, "b", status="lost", forgotten=True)


@pytest.mark.parametrize(
    ("name", "subject", "world", "is_gone"),
    [
        ("agent_unhealthy", "a", World(NOW), True),
        ("agent_unhealthy", "a", World(NOW, {"a": Agent("a", 1, "t", {}, "/r", stopped=True)}), True),
        ("agent_unhealthy", "a", LASTING["agent_unhealthy"], False),
        ("node_silent", "n", World(NOW), True),
        ("disk", "n", World(NOW, nodes={"n": Node("n", 1, "h", "i", 1, 1, "b", status="left")}), True),
        ("node_silent", "n", World(NOW, nodes={"n": FORGOTTEN}), True),
        ("disk", "n", World(NOW, nodes={"n": FORGOTTEN}), True),
        ("copies_damaged", "n", LASTING["copies_damaged"], False),
        ("disk", "n", LASTING["node_silent"], False),
        ("snapshot_overdue", "nightly", World(NOW), True),
        ("snapshot_overdue", "nightly", LASTING["snapshot_overdue"], False),
    ],
)
def test_the_alert_of_what_is_gone_is_gone(name: str, subject: str, world: World, is_gone: bool) -> None:
    assert bool(gone(world, name, subject)) == is_gone
    assert not (is_gone and sure(world)), "nor is it told again"


def test_what_a_restore_took_back_is_not_told_and_what_was_told_of_it_is_gone() -> None:
    nothing = Rows({}, {}, {})
    assert told(event(MOMENTS["task_failed"]), nothing) is None
    assert told(event(MOMENTS["task_failed"], seq=6), ROWS) is None  # the task has gone on since
    subjects = [("task_failed", "T"), ("parked", "R"), ("snapshot_failed", "n")]
    assert {one.alert: one.how for one in ended_unseen(subjects, nothing)} == {
        "task_failed:T": "gone",
        "parked:R": "gone",
    }
    assert not list(ended_unseen(subjects, ROWS))


def test_the_tasks_of_steps_are_told_by_their_run() -> None:
    step = Task("T", 7, 1, "do it", "failed", [Slot("a")], 1, "", workflow="R", step="s")
    assert told(event(MOMENTS["task_failed"]), Rows({"T": step}, {}, {})) is None
    found = told(event(e.WorkflowRunFinished("R", "failed", "exit", "step s failed")), ROWS)
    assert found is not None and found.alert == "task_failed:R" and found.why == "step s failed"
    child = RunHeader("R", 7, 1, "deploy", 1, "failed", 1, parent="P")
    assert told(event(e.WorkflowRunFinished("R", "failed", "exit")), Rows({}, {"R": child}, {})) is None


def test_a_run_that_was_resumed_ends_the_alerts_of_all_before_it() -> None:
    runs = {
        "A": RunHeader("A", 1, 1, "deploy", 1, "failed", 1),
        "B": RunHeader("B", 2, 2, "deploy", 1, "failed", 1, resumed_from="A"),
        "C": RunHeader("C", 9, 3, "deploy", 1, "completed", 1, resumed_from="B"),
    }
    batch = Batch({}, NOW)
    for run, seq, status in (("A", 1, "failed"), ("B", 2, "failed")):
        batch.take(event(e.WorkflowRunFinished(run, status, "exit"), seq), Rows({}, runs, {}))
    assert batch.told.keys() == {"task_failed:A", "task_failed:B"}
    batch.take(event(e.WorkflowRunFinished("C", "completed", "ok"), 9), Rows({}, runs, {}))
    assert not batch.told


@pytest.mark.parametrize(
    ("due", "is_over"), [(NOW - 1, False), (NOW + 1, True)], ids=["the same due time", "a later one"]
)
def test_a_missed_schedule_is_over_when_a_later_due_time_of_it_ends_well(due: int, is_over: bool) -> None:
    batch = Batch({}, NOW)
    batch.take(event(e.ScheduleFired("nightly", NOW - 1, missed=3)), ROWS)
    assert batch.told["schedule_missed:nightly"].what == "schedule nightly has missed 3 due times"
    batch.take(event(e.ScheduleEnded("nightly", due, True), 8), ROWS)
    assert (not batch.told) == is_over


def test_each_command_that_helps_is_one_of_maestro() -> None:
    """With its options; what it does for the alert is tried where the alerts of a real node are."""
    root: Any = command_line._command()
    run = told(event(e.WorkflowRunFinished("R", "failed", "exit")), ROWS)
    missing = e.ScheduleEnded(
        "nightly", NOW, False, "", "agent b lies on another node; leave it out with --allow-missing"
    )
    told_ = [*all_found().values(), told(event(MOMENTS["over_budget"]), ROWS), run, told(event(missing), ROWS)]
    commands = [(one.command, RULES[one.name].helps) for one in told_ if one is not None]
    assert len(commands) == len(RULES) + 3
    for line, helps in [*commands, *((rule.many, "") for rule in RULES.values())]:
        for part in line.split("# then:"):
            words = shlex.split(part, comments=True)
            assert words[0] == "maestro", line
            context = click.Context(root)
            command, rest = root, words[1:]
            while isinstance(command, click.Group):
                _, command, rest = command.resolve_command(context, rest)
            known = {name for param in command.params for name in param.opts}
            assert {word for word in rest if word.startswith("--")} <= known, line
            name = " ".join(words[: len(words) - len(rest)])
            assert not helps or f"`{name}" in helps, (line, helps)  # the document has the command that is printed


def test_where_a_snapshot_of_all_is_refused_the_command_leads_out() -> None:
    why = "not all that was asked for can be kept: …; put that in order, or leave it out with --allow-missing"
    found = told(event(e.ScheduleEnded("nightly", NOW, False, "", why)), ROWS)
    assert found is not None and shlex.split(found.command, comments=True)[1:] == [
        "state",
        "snapshot",
        "--allow-missing",
    ]
    found = told(event(e.ScheduleEnded("nightly", NOW, False, "", "the store is full")), ROWS)
    assert found is not None and found.command == "maestro schedule run nightly"
    agents = {name: Agent(name, 1, "t", {}, "/r", workspace="/w", node=name) for name in "ab"}
    (overdue,) = sure(msgspec.structs.replace(LASTING["snapshot_overdue"], agents=agents))
    assert overdue.command == "maestro state snapshot --allow-missing"


def test_the_message_in_the_document_is_what_a_task_that_failed_is_told_as() -> None:
    document = (Path(command_line.__file__).parents[1] / "docs" / "monitoring.md").read_text()
    text = document.partition("## Webhooks")[2].partition("```json\n")[2].partition("```")[0]
    shown = msgspec.json.decode(text)["data"]
    run = Run("r", 1, "a", shown["node"], 2, 6, evidence=shown["why"])
    title = shown["what"].partition(": ")[2]
    task = Task(shown["subject"], 7, 1, title, "failed", [Slot("a", runs=[run], outcome="exit")], 1, "")
    found = told(event(e.TaskFinished(task.id, "failed", "exit")), Rows({task.id: task}, {}, {}))
    assert found is not None
    assert [shown[name] for name in ("id", "name", "subject", "what", "why", "node", "command")] == [
        *(found.alert, found.name, found.subject, found.what, found.why, found.node, found.command)
    ]
    assert shown["severity"] == ("critical" if RULES[found.name].critical else "warning")


def test_the_document_lists_the_rules_as_they_are() -> None:
    document = (Path(command_line.__file__).parents[1] / "docs" / "monitoring.md").read_text()
    rows = {
        found[1]: found[0]
        for line in document.splitlines()
        if (found := re.match(r"\| `([a-z_]+)`(?: \*)? \|.*\|$", line)) and found[1] in RULES
    }
    assert rows == {
        name: f"| `{name}`{' *' if rule.momentary else ''} | {rule.when} | {rule.ends} | {rule.helps} |"
        for name, rule in RULES.items()
    }


def test_a_task_that_ends_otherwise_when_it_is_tried_again_has_one_alert() -> None:
    event = Event(9, "x", NOW, "", "", 0, e.TaskFinished("t", "failed", "parked"))
    ended = {end.alert: end.how for end in over(event, Rows({}, {}, {}))}
    assert ended == dict.fromkeys(("task_failed:t", "task_timed_out:t", "over_budget:t"), "gone")
