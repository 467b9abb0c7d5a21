"""The rules of an agent's health: what makes it unhealthy, what is only notable, and which limit counts when."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.health import decide_checked
from maestro.model.monitoring.disk_room import disk_low
from maestro.model.monitoring.health_rules import DISK, PROCESS, Check, checks_of
from maestro.model.monitoring.hearing import Hearing
from maestro.model.monitoring.sights import SeenDisk, SeenHeartbeat, SeenProcess, SeenQueue, SeenRun, SeenStore, Sight
from tests.model.facts import World, agent, node, task

MIB = 1 << 20


def running(*failed: str, **definition: object) -> Agent:
    world = World(node(), agent("a", definition=definition), task("t"))
    world.decides()
    world.starts("t-0.1")
    if failed:
        world.happens(e.AgentHealthChanged("a", False, failed, "before"))
    return world.agent("a")


def made(row: Agent, name: str, sight: Sight) -> Check:
    (check,) = [check for check in checks_of(row, sight) if check.name == name]
    return check


def of_process(*standing: SeenProcess, row: Agent | None = None, **fields: object) -> Check:
    run = SeenRun(standing, count=3, **fields)  # type: ignore[arg-type]
    return made(row or running(), PROCESS, Sight(run=run))


@pytest.mark.parametrize(
    ("state", "role", "for_s", "silent_s", "result"),
    [
        ("stopped", "agent", 2.9, 0.0, "ok"),
        ("stopped", "agent", 3.0, 0.0, "failed"),
        ("stopped", "warden", 3.0, 0.0, "failed"),
        ("stopped", "child", 3.0, 99.0, "ok"),
        ("stopped", "child", 60.0, 99.0, "failed"),
        ("stopped", "child", 60.0, 59.0, "note"),
        ("zombie", "agent", 29.0, 0.0, "ok"),
        ("zombie", "agent", 30.0, 0.0, "failed"),
        ("zombie", "child", 9999.0, 9999.0, "note"),
        ("disk-sleep", "agent", 119.0, 0.0, "ok"),
        ("disk-sleep", "agent", 120.0, 0.0, "failed"),
        ("disk-sleep", "child", 119.0, 119.0, "note"),
        ("disk-sleep", "child", 120.0, 120.0, "failed"),
        ("disk-sleep", "child", 120.0, 10.0, "note"),
    ],
)
def test_a_process_that_stands_still_fails_by_what_it_is_to_the_run(
    state: str, role: str, for_s: float, silent_s: float, result: str
) -> None:
    check = of_process(SeenProcess(7, "x", state, for_s, role), silent_s=silent_s)
    assert ("note" if check.notable else "ok") if check.ok else result == "failed"
    if result == "failed":
        assert (check.value, check.unit) == (for_s, "s") and check.limit is not None and "task cancel t" in check.mend
        assert ("kill -CONT 7" in check.mend) == (state == "stopped")


def test_the_one_that_stands_longest_is_told() -> None:
    shorter, longer = (SeenProcess(pid, "x", "stopped", 10.0 * pid, "agent") for pid in (1, 2))
    assert "process 2 (x)" in of_process(shorter, longer).detail
    assert "process 2 (x)" in of_process(longer, shorter).detail


def test_who_goes_on_is_well_when_two_looks_in_a_row_have_found_it_so() -> None:
    stopped = SeenProcess(7, "x", "stopped", 9.0, "agent")
    ill = running(PROCESS)
    assert not of_process(row=ill, before=(stopped,)).ok
    assert of_process(row=ill).ok
    assert of_process(before=(stopped,)).ok, "it has not been unhealthy"


def test_nothing_is_said_of_a_run_that_nobody_has_looked_at_such_as_one_that_is_paused() -> None:
    row = running(PROCESS)
    assert not {"process", "silence"} & {check.name for check in checks_of(row, Sight())}
    assert decide_checked(row, checks_of(row, Sight())) == []
    free = World(node(), agent("a"), e.AgentHealthChanged("a", False, (PROCESS,), "before")).agent("a")
    (event,) = decide_checked(free, checks_of(free, Sight()))
    assert event.fact == e.AgentHealthChanged("a", True, checks=(e.CheckFound("process", True, "no run is on"),))


@pytest.mark.parametrize(
    ("silent_s", "limit", "ok", "notable"),
    [
        (299.0, 300.0, True, False),
        (360.0, 300.0, True, False),
        (361.0, 300.0, False, False),
        (1799.0, None, True, False),
        (90_000.0, None, True, True),
    ],
)
def test_silence_fails_only_where_its_warden_does_not_end_it(
    silent_s: float, limit: float | None, ok: bool, notable: bool
) -> None:
    check = made(running(), "silence", Sight(run=SeenRun(silent_s=silent_s, silent_s_max=limit)))
    assert (check.ok, check.notable, check.value, check.limit) == (ok, notable, silent_s, limit)


def disk(free_mib: float, total_mib: float = 1000, files: int | None = None) -> SeenDisk:
    return SeenDisk("/w", int(free_mib * MIB), int(total_mib * MIB), files)


def test_a_full_disk_has_room_again_above_a_higher_limit() -> None:
    well, ill = running(), running(DISK)
    assert [made(well, DISK, Sight(disk=disk(mib))).ok for mib in (63.9, 64, 95)] == [False, True, True]
    assert [made(ill, DISK, Sight(disk=disk(mib))).ok for mib in (64, 95, 96)] == [False, False, True]
    assert [made(well, DISK, Sight(disk=disk(500, files=files))).ok for files in (999, 1000)] == [False, True]
    assert [made(ill, DISK, Sight(disk=disk(500, files=files))).ok for files in (1000, 2000)] == [False, True]
    gone = made(well, DISK, Sight(disk=SeenDisk("/w", problem="no such device")))
    assert not gone.ok and gone.mend


@given(st.lists(st.integers(50 * MIB, 110 * MIB), max_size=30))
def test_a_disk_is_told_once_for_each_time_that_it_fills_and_has_room(rooms: list[int]) -> None:
    world, told = World(node(), agent("a")), []
    for free in rooms:
        row = world.agent("a")
        for event in decide_checked(row, checks_of(row, Sight(disk=disk(free / MIB)))):
            told.append(free)
            world.happens(event.fact)
    assert all(free < 64 * MIB for free in told[::2]) and all(free >= 96 * MIB for free in told[1::2])


def test_a_node_calls_a_disk_low_before_agents_fail_for_it() -> None:
    assert disk_low(disk(1024, 200_000), was_low=False) == ""
    assert "1023 MiB free below /w" in disk_low(disk(1023, 200_000), was_low=False)
    assert disk_low(disk(1100, 200_000), was_low=True) and not disk_low(disk(1300, 200_000), was_low=True)
    assert disk_low(disk(49, 1000), was_low=False) and not disk_low(disk(51, 1000), was_low=False)
    assert "10 more files" in disk_low(disk(500, files=10), was_low=False)
    assert disk_low(SeenDisk("/w", problem="no answer"), was_low=False) == "no answer"


def test_failures_in_a_row_and_waiting_work_are_notable_and_refuse_nothing() -> None:
    def told(*outcomes: str) -> tuple[bool, bool, float | None]:
        check = made(running(), "failures", Sight(outcomes=outcomes))
        return check.ok, check.notable, check.value

    assert told() == (True, False, 0)
    assert told("exit", "exit", "ok", "exit") == (True, False, 2)
    assert told("exit", "lost", "timeout", "cancelled", "oom", "ok") == (True, True, 3), "what says nothing is left out"
    assert told("ok", "exit", "exit", "exit") == (True, False, 0)
    said = [
        made(running(), "failures", Sight(outcomes=each)).detail for each in ((), ("lost", "budget"), ("lost", "ok"))
    ]
    assert said[0] == "no run of it has ended"
    assert said[1].endswith(": lost, budget") and said[2].endswith(": lost; before, ok")
    queue = [made(running(), "queue", Sight(queue=SeenQueue("t2", waits_s, "x"))) for waits_s in (1799.0, 1800.0)]
    assert [(check.ok, check.notable) for check in queue] == [(True, False), (True, True)]
    assert made(running(), "queue", Sight(queue=SeenQueue())).detail == "nothing waits for it"


def test_a_store_that_is_unsafe_fails_and_one_that_is_not_ideal_is_notable() -> None:
    unsafe = made(running(), "store", Sight(store=SeenStore("it evicts", "CONFIG SET x")))
    assert (unsafe.ok, unsafe.detail, unsafe.mend) == (False, "the store is unsafe: it evicts", "CONFIG SET x")
    noted = made(running(), "store", Sight(store=SeenStore(note="80 % used", mend="more")))
    assert (noted.ok, noted.notable, noted.mend) == (True, True, "more")
    assert made(running(), "store", Sight(store=SeenStore())).detail == "it is safe"


def test_each_check_that_fails_says_what_to_do() -> None:
    row = running()
    run = SeenRun((SeenProcess(7, "x", "stopped", 9.0, "agent"),), silent_s=999.0, silent_s_max=1.0)
    bad = Sight(
        program="gone", disk=disk(1), store=SeenStore("it evicts", "set it"), run=run, nodes={}, place="not writable"
    )
    homeless = World(agent("free", None)).agent("free")
    found = [*checks_of(row, bad), *checks_of(homeless, bad)]
    ill = {check.name for check in found if not check.ok}
    assert ill == {"binary", "disk", "store", "process", "silence", "workspace"}
    assert not [check.name for check in found if not check.ok and not check.mend]
    assert not [check.name for check in found if check.ok and not check.notable and check.mend]


def test_missing_heartbeats_say_nothing_where_nobody_could_be_heard_until_just_now() -> None:
    row, nodes = running(), {"n": World(node()).plan.nodes["n"]}
    late = 10**9

    def found(deaf: bool) -> list[bool]:
        sight = Sight(nodes=nodes, heartbeat=SeenHeartbeat(None, late, deaf))
        return [check.ok for check in checks_of(row, sight) if check.name == "heartbeat"]

    assert (found(deaf=False), found(deaf=True)) == ([False], [])
    fresh = Sight(nodes=nodes, heartbeat=SeenHeartbeat(1.0, late, deaf=True))
    assert made(row, "heartbeat", fresh).ok


@pytest.mark.parametrize(
    ("heard", "judges"),
    [
        ([], False),
        ([0, 10_000], False),
        ([0, 10_000, 20_000], True),
        ([0, 10_000, 20_000, 80_000], False),
        ([0, 10_000, 20_000, 80_000, 90_000, 100_000], True),
        ([0, 10_000, None, 20_000], False),
        ([0, 10_000, None, 20_000, 30_000, 40_000], True),
        ([100_000, 110_000, 120_000, 90_000], False),
    ],
)
def test_who_listens_judges_only_after_having_heard_for_a_while_without_a_gap(
    heard: list[int | None], judges: bool
) -> None:
    """None: the store was away; a time that goes back is that of another server."""
    hearing = Hearing()
    for now in heard:
        if now is None:
            hearing.away()
        else:
            hearing.heard(now)
    assert hearing.judges(heard[-1] if heard and heard[-1] is not None else 10**9) is judges
