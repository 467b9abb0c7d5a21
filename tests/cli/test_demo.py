"""The demo runs whole, and nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maestro.cli.demo import completed
from tests.cli.conftest import CommandLine
from tests.installation import left_behind


@pytest.mark.parametrize(
    ("topic", "signs"),
    [
        ("tasks", ("1 passed", "8080")),
        ("workflow", ("check[1]  failed", "test#2    completed", "asks: Ship to production?", "shipped to production")),
        ("budget", ("outcome        budget", "paused      budget", "over_budget:", "--add-budget cost=2", "cost=2.25")),
        ("rollback", ("failsafe.returned", "-rw-r-----", "Chapter two", "failsafe: ", "of-a-person.md")),
    ],
)
def test_the_demo_tells_its_story_and_leaves_nothing(tmp_path: Path, topic: str, signs: tuple[str, ...]) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAESTRO_")}
    done = subprocess.run(
        [sys.executable, "-m", "maestro", "demo", topic],
        env={**env, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [sign for sign in signs if sign not in done.stdout]
    assert list(tmp_path.iterdir()) == []


def test_a_reader_who_has_seen_enough_leaves_no_store_behind(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAESTRO_")}
    words = [sys.executable, "-m", "maestro", "demo"]
    with subprocess.Popen(
        words, env={**env, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}, stdout=subprocess.PIPE
    ) as demo:
        assert demo.stdout is not None
        while not demo.stdout.readline().startswith(b"id "):  # the store runs by now
            pass
        (place,) = tmp_path.iterdir()
        demo.stdout.close()
        assert demo.wait(60) == 141
    assert list(tmp_path.iterdir()) == []
    assert left_behind(place / "home") == []


def test_it_knows_its_topics(maestro: CommandLine) -> None:
    told = maestro.here("demo", "workflw")
    assert (told.code, told.err) == (3, "maestro: there is no demo 'workflw'; did you mean `maestro demo workflow`?\n")
    assert (
        maestro.here("demo", "\x1b[1m").err
        == "maestro: there is no demo '\\x1b[1m'; there are tasks, workflow, budget and rollback\n"
    )
    assert [topic for topic, _ in completed("w")] == ["workflow"]
