"""Schedules on a store: who fires, who carries out, and what is left open by a daemon that dies is carried out once."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from maestro.model import events as e
from maestro.model.errors import MaestroError, Refused
from maestro.model.events import NewEvent
from maestro.model.schedules.schedule import Firing
from maestro.model.snapshot import latest
from maestro.runtime.monitor.firings import snapshot_of
from maestro.runtime.node.context import Context
from maestro.runtime.protocol import messages as p
from maestro.runtime.scheduler.merged_appends import LEASE
from maestro.runtime.snapshots.proof import newest
from maestro.store.contract import Append, Committed, Store
from maestro.store.memory.memory_store import MemoryStore
from tests.runtime.monitor.scheduled_place import DAY, HOUR, Daemon, Place, SetClock, settings_in

WORKFLOW = (
    "vars: {n: 1}\nschedules: [{cron: '0 2 * * *', params: {n: 2}}]\nsteps:\n- {id: s, run: 'echo {{ vars.n }}'}\n"
)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def place(clock: SetClock, tmp_path: Path) -> Place:
    return Place(MemoryStore("t", clock), settings_in(tmp_path), clock.now)


def test_what_is_due_is_fired_and_carried_out_and_its_task_says_by_what(place: Place, clock: SetClock) -> None:
    async def script(one: Daemon) -> None:
        await one.add("noon", "0 12 * * *")
        assert 0 < await one.fire() < HOUR / 1000
        clock.at += HOUR
        await one.fire()
        await one.carry_out()
        await one.fire()
        await one.carry_out()
        row = (await one.list())["noon"]
        (task,) = place.events(e.TaskDispatched)
        assert (row["last_made"], row["last_ok"], row["open"]) == (task.fact.task, True, False)
        assert row["next_at"] == "2026-05-29T12:00:00.000Z" and row["last_due"] == "2026-05-28T12:00:00.000Z"
        fired = place.store.log.event(int(task.cause))
        assert (task.actor, task.fact.key) == ("schedule:noon", "schedule:noon:2026-05-28T12:00:00.000Z")
        assert fired is not None and isinstance(fired.fact, e.ScheduleFired) and fired.actor == "scheduler:one"

    place.play(script)


def test_one_that_was_removed_can_be_added_again(place: Place, clock: SetClock) -> None:
    async def script(one: Daemon) -> None:
        for _ in range(2):
            await one.add("noon", "0 12 * * *")
            await one.ask(p.ScheduleRemove("noon"))
        await one.add("noon", "0 13 * * *")
        clock.at += 2 * HOUR
        await one.fire()
        assert [event.fact.schedule for event in place.events(e.ScheduleFired)] == ["noon"]

    place.play(script)


def test_of_two_that_believe_they_lead_at_the_second_of_firing_one_fires(place: Place, clock: SetClock) -> None:
    async def script(one: Daemon, two: Daemon) -> None:
        await one.add("noon", "0 12 * * *")
        clock.at += HOUR
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.fire)
            nursery.start_soon(two.fire)
        assert [event.actor for event in place.events(e.ScheduleFired)] == ["scheduler:one"]
        async with trio.open_nursery() as nursery:  # both carry it out: the key makes it one
            nursery.start_soon(one.carry_out)
            nursery.start_soon(two.carry_out)
        assert len(place.events(e.TaskDispatched)) == len(place.events(e.ScheduleEnded)) == 1

    place.play(script, "one", "two")


def test_a_leader_that_dies_between_firing_and_carrying_out_or_after_it_is_followed(
    place: Place, clock: SetClock
) -> None:
    async def script(one: Daemon, two: Daemon) -> None:
        for name in ("a", "b"):
            await one.add(name, "0 12 * * *", prompt=f"do {name}")
        clock.at += HOUR
        await one.fire()
        rows = {row.schedule: row for row in await one.context.rows(one.context.views.firings)}
        scheduled = await one.firings._schedules.one("b")
        await one.firings._end_of(scheduled, rows["b"], rows["b"].open[0])  # and dies before it says so
        one.leads = False
        one.context.store.work.lease_drop(LEASE, "one:1")
        assert two.take_lease()
        await two.fire()
        await two.carry_out()
        assert sorted(event.fact.key for event in place.events(e.TaskDispatched)) == [
            "schedule:a:2026-05-28T12:00:00.000Z",
            "schedule:b:2026-05-28T12:00:00.000Z",
        ]
        assert {row["last_ok"] for row in (await two.list()).values()} == {True}
        assert len(place.events(e.ScheduleFired)) == 2

    place.play(script, "one", "two")


def test_after_a_week_away_it_fires_once_or_is_left_out_and_a_clock_that_goes_back_fires_nothing(
    place: Place, clock: SetClock
) -> None:
    async def script(one: Daemon) -> None:
        await one.add("once", "0 * * * *")
        await one.add("skip", "0 * * * *", "skip")
        clock.at += 7 * DAY + 10 * 60_000  # ten minutes past the last due time
        await one.fire()
        await one.carry_out()
        rows = await one.list()
        assert (rows["once"]["left_out"], rows["once"]["last_made"] is not None) == (167, True)
        assert (rows["skip"]["left_out"], rows["skip"]["last_at"]) == (168, None)
        count = len(place.events())
        for back in (HOUR, 3 * DAY):
            clock.at -= back
            await one.fire()
        assert len(place.events()) == count

    place.play(script)


def test_nothing_begins_while_what_the_last_firing_began_is_on(place: Place, clock: SetClock) -> None:
    async def script(one: Daemon) -> None:
        await one.add("hourly", "0 * * * *")
        for _ in range(3):
            clock.at += HOUR
            await one.fire()
            await one.carry_out()
        (task,) = place.events(e.TaskDispatched)
        skipped = [event.fact for event in place.events(e.ScheduleSkipped)]
        assert [fact.why for fact in skipped] == [f"task {task.fact.task} of the firing before is queued"] * 2
        with pytest.raises(Refused, match="begins nothing new"):
            await one.ask(p.ScheduleRun("hourly"))
        task_row = await one.context.row(one.context.views.task, task.fact.task)
        place.append(NewEvent(task.subject, e.TaskFinished(task.fact.task, "completed", "ok", 0), task_row.version))
        clock.at += HOUR
        await one.fire()
        await one.carry_out()
        assert len(place.events(e.TaskDispatched)) == 2

    place.play(script)


def test_a_restore_to_two_days_ago_fires_nothing_again_and_what_was_added_since_is_gone(
    place: Place, clock: SetClock
) -> None:
    async def script(one: Daemon) -> None:
        await one.add("daily", "0 12 * * *")
        await one.add("removed", "0 13 * * *")
        position = place.store.log.head().seq
        clock.at += DAY
        await one.add("younger", "0 14 * * *")
        await one.ask(p.ScheduleRemove("removed"))
        for _ in range(2):
            clock.at += DAY
            await one.fire()
            await one.carry_out()
            for task in await one.context.rows(one.context.views.open_tasks):
                place.append(NewEvent(f"task:{task.id}", e.TaskFinished(task.id, "completed", "ok", 0), task.version))
        fired = len(place.events(e.ScheduleFired))
        assert fired == 4  # daily twice, with one missed; younger twice
        place.append(NewEvent("restore:r1", e.RestoreDone("r1", position)), floors=True)
        await one.fire()
        await one.carry_out()
        assert (await one.list()).keys() == {"daily", "removed"}
        assert len(place.events(e.ScheduleFired)) == fired and not place.events(e.ScheduleSkipped)
        clock.at += 2 * HOUR
        await one.fire()
        due = [(event.fact.schedule, event.fact.missed) for event in place.events(e.ScheduleFired)[fired:]]
        assert due == [("daily", 0), ("removed", 0)]

    place.play(script)


def test_a_firing_that_was_open_when_the_log_was_restored_is_not_carried_out(place: Place, clock: SetClock) -> None:
    async def script(one: Daemon) -> None:
        await one.add("noon", "0 12 * * *")
        clock.at += HOUR
        await one.fire()
        place.append(NewEvent("restore:r1", e.RestoreDone("r1", place.store.log.head().seq)), floors=True)
        await one.carry_out()
        (ended,) = place.events(e.ScheduleEnded)
        assert not ended.fact.ok and "restored" in ended.fact.why and not place.events(e.TaskDispatched)

    place.play(script)


def test_what_cannot_be_carried_out_is_said_and_the_next_one_is_tried(place: Place, clock: SetClock) -> None:
    async def script(one: Daemon) -> None:
        await one.add("noon", "0 12 * * *")
        await one.add("gone", "0 12 * * *", prompt="x" * 100_000)
        clock.at += HOUR
        await one.fire()
        await one.ask(p.ScheduleRemove("gone"))
        place.append(NewEvent("agent:w1", e.AgentHealthChanged("w1", False, ("disk",), "its disk is full")))
        await one.carry_out()
        ended = {event.fact.schedule: event.fact for event in place.events(e.ScheduleEnded)}
        assert ended["gone"].why == "the schedule is not there any more"
        assert "w1" in ended["noon"].why and not ended["noon"].ok
        place.append(NewEvent("agent:w1", e.AgentHealthChanged("w1", True)))
        clock.at += DAY
        await one.fire()
        await one.carry_out()
        assert (await one.list())["noon"]["last_ok"]

    place.play(script)


def test_a_large_prompt_is_kept_apart_and_comes_back_whole(place: Place, clock: SetClock) -> None:
    async def script(one: Daemon) -> None:
        prompt = "line\n" * 50_000
        await one.add("long", "0 12 * * *", prompt=prompt)
        (added,) = place.events(e.ScheduleAdded)
        assert isinstance(added.fact.request, e.BlobRef)
        from replayers.blobs import named

        assert added.fact.request.blob in named(place.store)
        clock.at += HOUR
        await one.fire()
        await one.carry_out()
        (task,) = place.events(e.TaskDispatched)
        assert await one.context.text(task.fact.prompt) == prompt

    place.play(script)


def test_a_workflow_fires_by_its_own_schedules_while_they_are_switched_on(place: Place, clock: SetClock) -> None:
    async def script(one: Daemon) -> None:
        await one.ask(p.WorkflowCreate("nightly", WORKFLOW, "nightly.yaml"))
        clock.at += HOUR
        await one.ask(p.WorkflowSwitch("nightly", False))
        clock.at += DAY
        await one.fire()
        await one.ask(p.WorkflowSwitch("nightly", True))
        await one.fire()
        assert not place.events(e.ScheduleFired, e.ScheduleSkipped)  # what was due while they were off is not missed
        clock.at += DAY
        await one.fire()
        await one.carry_out()
        (run,) = place.events(e.WorkflowRunStarted)
        assert (run.fact.params, run.actor) == ({"n": 2}, "schedule:nightly#0")
        assert (await one.list())["nightly#0"]["last_made"] == run.fact.run
        clock.at += DAY
        await one.fire()  # it is still on
        (skipped,) = place.events(e.ScheduleSkipped)
        assert skipped.fact.why == f"run {run.fact.run} of the firing before is running"
        with pytest.raises(MaestroError, match="belongs to workflow nightly"):
            await one.ask(p.ScheduleSwitch("nightly#0", False))

    place.play(script)


def test_another_node_carries_out_what_is_its_own_and_the_leader_all_else(place: Place, clock: SetClock) -> None:
    async def script(one: Daemon, two: Daemon) -> None:
        two.leads = False
        command = {"kind": "state snapshot", "allow_missing": True}
        await two.ask(p.ScheduleAdd("there", "0 12 * * *", ["state", "snapshot"], command))
        await two.add("anywhere", "0 12 * * *")
        assert (await one.list())["there"]["node"] == "two" and (await one.list())["anywhere"]["node"] is None
        clock.at += HOUR
        await one.fire()
        await one.carry_out()
        assert [event.fact.schedule for event in place.events(e.ScheduleEnded)] == ["anywhere"]
        firing = await two.context.row(two.context.views.firing, "there")
        scheduled = await two.firings._schedules.one("there")
        begun = snapshot_of("schedule:there:2026-05-28T12:00:00.000Z", firing.last_at)
        broken = e.SnapshotStarted(begun, "schedule", True, (), "two")
        place.append(NewEvent(f"snapshot:{begun}", broken), NewEvent(f"snapshot:{begun}", e.SnapshotFailed(begun)))
        await two.firings._end_of(scheduled, firing, firing.open[0])  # and dies before it says so
        await two.carry_out()
        (taken,) = place.events(e.SnapshotTaken)
        assert taken.fact.snapshot == f"{begun}-2"
        rows = await two.context.rows(two.context.views.snapshots)
        assert latest(rows) == rows[0] and not rows[0].kept
        empty = Context(place.settings, "two", MemoryStore("empty"), two.context.gateway)
        assert await newest(empty) == taken.fact.snapshot  # also where the log knows of none
        assert (taken.fact.reason, taken.fact.automatic, taken.fact.node) == ("schedule", True, "two")
        assert (await one.list())["there"]["last_made"] == taken.fact.snapshot

    place.play(script, "one", "two")


def test_on_a_real_store_two_leaders_in_turn_fire_each_due_time_once(store: Store, tmp_path: Path) -> None:
    ahead = 0

    async def script(one: Daemon, two: Daemon) -> None:
        nonlocal ahead
        await one.add("hourly", "0 * * * *", prompt="run")
        leaders = [one, two]
        for _ in range(6):
            ahead += HOUR
            async with trio.open_nursery() as nursery:  # both look, and one of them leads
                nursery.start_soon(one.fire)
                nursery.start_soon(two.fire)
            store.work.lease_drop(LEASE, leaders[0].timetable._lead.fence.holder)
            leaders.reverse()
            assert leaders[0].take_lease()
            await one.carry_out()
            await two.carry_out()
            for task in await one.context.rows(one.context.views.open_tasks):
                place.append(NewEvent(f"task:{task.id}", e.TaskFinished(task.id, "completed", "ok", 0), task.version))
        fired = [event for event in place.events(e.ScheduleFired)]
        assert len({event.fact.due for event in fired}) == len(fired) == 6
        assert {event.actor for event in fired} == {"scheduler:one", "scheduler:two"}
        assert len(place.events(e.TaskDispatched)) == 6

    place = Place(store, settings_in(tmp_path), lambda: store.now() + ahead)
    place.play(script, "one", "two")


def test_an_agent_that_a_clean_has_stopped_before_it_was_broken_off_goes_on_behind_it(place: Place) -> None:
    """Taken up again behind an outage or by the next daemon, the firing took the agent for one that a user stopped."""

    def stopped(cause: str) -> None:
        row = place.store.log.version("agent:w1")
        told = NewEvent("agent:w1", e.AgentStopped("w1", "workspace clean"), row)
        health = NewEvent("agent:w1", e.AgentHealthChanged("w1", False, ("node",), "lost"))
        for event, why in ((told, cause), (health, "9")):
            (done,) = place.store.log.commit([Append((event,), "schedule:x", why)], None)
            assert isinstance(done, Committed)

    async def script(one: Daemon) -> None:
        clean, firing = p.WorkspaceClean("w1"), Firing("x", 77)
        assert await one.firings._works(clean, firing) == "w1", "it takes work"
        stopped("cmd:1")
        assert await one.firings._works(clean, firing) == "", "a user has stopped it"
        stopped("77")
        assert await one.firings._works(clean, firing) == "w1"
        asked = NewEvent("forward:f", e.ForwardAsked("f", "far", "{}", "schedule:x"), 0)
        (done,) = place.store.log.commit([Append((asked,), "schedule:x", "77")], None)
        assert isinstance(done, Committed)
        stopped(str(done.last))
        assert await one.firings._works(clean, firing) == "w1", "by its node, which was asked for it"
        assert await one.firings._works(clean, Firing("x", 78)) == ""

    place.play(script)
