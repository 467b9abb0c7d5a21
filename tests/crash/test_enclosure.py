"""What a trial leaves when it takes all guards away is ended with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.chaos import enclosure

AGENT = Path(enclosure.__file__).with_name("hostile_agent.py")
HIDING = ("hop", "daemon", "unmarked", "deaf")
ENCLOSURES = [False, *([True] if enclosure.is_namespaced() else [])]


def tokened(token: str) -> list[int]:
    """Processes with the token in their command line, in any pid namespace below ours, the dead ones excepted."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if token.encode() in line:
            found.append(int(name))
    return found


def a_run_without_guards(token: str, then: str = "") -> list[str]:
    """A program that starts a hostile agent, waits until it is at it, and ends without a look back."""
    agent = [sys.executable, "-I", "-S", str(AGENT), token, *HIDING]
    start = f"import subprocess, time; subprocess.Popen({agent!r}, start_new_session=True); time.sleep(0.5); {then}"
    return [sys.executable, "-c", start]


@pytest.mark.parametrize("namespaced", ENCLOSURES)
def test_nothing_is_left_of_an_agent_that_hops_and_hides_when_nobody_guards_it(namespaced: bool) -> None:
    for _ in range(5):
        token = f"enclosed-{os.urandom(4).hex()}"
        assert enclosure.run(a_run_without_guards(token), 60, namespaced) == 0
        assert not tokened(token)


@pytest.mark.parametrize("namespaced", ENCLOSURES)
def test_a_trial_that_does_not_end_is_ended_with_all_below_it(namespaced: bool) -> None:
    token = f"enclosed-{os.urandom(4).hex()}"
    assert enclosure.run(a_run_without_guards(token, "time.sleep(600)"), 1.5, namespaced) == enclosure.OVERDUE
    assert not tokened(token)


@pytest.mark.parametrize("namespaced", ENCLOSURES)
def test_a_trial_ends_where_the_one_who_runs_it_is_killed(namespaced: bool) -> None:
    token = f"enclosed-{os.urandom(4).hex()}"
    line = a_run_without_guards(token, "time.sleep(600)")
    text = f"from tools.chaos import enclosure; enclosure.run({line!r}, 600, {namespaced})"
    with subprocess.Popen([sys.executable, "-c", text], cwd=AGENT.parents[2]) as runner:
        deadline = time.monotonic() + 120
        while len(tokened(token)) < 6 and time.monotonic() < deadline:  # they are at it
            time.sleep(0.05)
        runner.kill()
    while tokened(token):
        assert time.monotonic() < deadline
        time.sleep(0.05)
