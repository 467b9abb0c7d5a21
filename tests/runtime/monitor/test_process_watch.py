"""For how long the processes of a run stand still, and it says nothing: real processes, and a clock of the test's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from maestro.model.monitoring.sights import SeenRun
from maestro.runtime.monitor.process_watch import Guarded, ProcessWatch
from maestro.runtime.worker.process_usage import Sample, Standing, sample
from tests.runtime.acting import until

TREE = """
import os, sys, time
child, dead = os.fork(), 1
if child:
    dead = os.fork()
    if not dead:
        os._exit(0)
    print(os.getpid(), child, dead, flush=True)
time.sleep(600)
"""


class Tree:
    """A warden (a shell), an agent, its child, and a dead one that nobody reaps."""

    def __init__(self) -> None:
        words = ["sh", "-c", '"$@" & echo started >/dev/null; wait', "sh", sys.executable, "-c", TREE]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdout is not None
        self.agent, self.child, self.dead = map(int, self.process.stdout.readline().split())
        self.warden = self.process.pid
        until(lambda: psutil.Process(self.dead).status() == psutil.STATUS_ZOMBIE)

    def signal(self, pid: int, number: int) -> None:
        os.kill(pid, number)
        stands = number == signal.SIGSTOP
        until(lambda: (psutil.Process(pid).status() == psutil.STATUS_STOPPED) == stands)

    def end(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def tree() -> Iterator[Tree]:
    found = Tree()
    yield found
    found.end()


def seen(found: dict[str, SeenRun]) -> dict[int, tuple[str, str, float]]:
    return {each.pid: (each.state, each.role, each.for_s) for each in found["r"].standing}


def test_each_process_of_the_tree_is_seen_with_how_long_it_stands_still(tree: Tree, tmp_path: Path) -> None:
    watch, log = ProcessWatch(), str(tmp_path / "agent.log")

    def look(now: float, paused: bool = False) -> dict[str, SeenRun]:
        return watch.look(sample({"r": tree.agent}), {"r": Guarded(log, 300.0, paused)}, now)

    zombie = ("zombie", "child")
    assert seen(look(0.0)) == {tree.dead: (*zombie, 0.0)}
    for pid in (tree.agent, tree.child, tree.warden):
        tree.signal(pid, signal.SIGSTOP)
    assert seen(look(5.0)) == {
        tree.warden: ("stopped", "warden", 0.0),
        tree.agent: ("stopped", "agent", 0.0),
        tree.child: ("stopped", "child", 0.0),
        tree.dead: (*zombie, 5.0),
    }
    assert look(10.0, paused=True) == {}
    found = look(12.0)
    assert seen(found)[tree.agent] == ("stopped", "agent", 2.0), "the pause of 5 s does not count"
    assert (found["r"].count, found["r"].silent_s_max) == (3, 300.0)
    tree.signal(tree.agent, signal.SIGCONT)
    found = look(13.0)
    assert tree.agent not in seen(found) and tree.agent in {each.pid for each in found["r"].before}
    tree.signal(tree.agent, signal.SIGSTOP)
    assert seen(look(14.0))[tree.agent] == ("stopped", "agent", 0.0), "counted anew"
    assert watch.look({}, {}, 15.0) == {}
    assert seen(look(16.0))[tree.dead] == (*zombie, 0.0), "what has ended is forgotten"


def test_a_run_is_silent_since_its_log_or_a_piece_of_it_has_grown(tmp_path: Path) -> None:
    watch, log = ProcessWatch(), tmp_path / "agent.log"
    samples = {"r": Sample(0, 0.0, 0.0, 1, "sleeping")}

    def silent(now: float, paused: bool = False) -> float:
        found = watch.look(samples, {"r": Guarded(str(log), None, paused)}, now)
        return found["r"].silent_s if found else -1.0

    assert (silent(0.0), silent(5.0)) == (0.0, 5.0)
    log.write_text("a line\n")
    assert (silent(6.0), silent(10.0)) == (0.0, 4.0)
    (tmp_path / "agent.log.7.7").write_text("more, above the cap")
    assert (silent(11.0), silent(14.0)) == (0.0, 3.0)
    (tmp_path / "prompt.txt").write_text("no output")
    assert (silent(20.0), silent(100.0, paused=True), silent(101.0)) == (9.0, -1.0, 10.0)


@pytest.mark.parametrize(("moves", "for_s"), [((7, 7, 7), 10.0), ((7, 8, 8), 5.0), ((7, 8, 9), 0.0)])
def test_who_waits_for_a_disk_again_and_again_does_not_stand_still(
    moves: tuple[int, ...], for_s: float, tmp_path: Path
) -> None:
    watch, run = ProcessWatch(), {"r": Guarded(str(tmp_path / "agent.log"))}
    for at, count in enumerate(moves):
        standing = (Standing(7, 1.0, "cp", "disk-sleep", "agent", count),)
        found = watch.look({"r": Sample(0, 0.0, 0.0, 1, "disk-sleep", standing)}, run, 5.0 * at)
    assert seen(found) == {7: ("disk-sleep", "agent", for_s)}
