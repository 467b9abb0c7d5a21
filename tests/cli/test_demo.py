"""The demo runs whole, and nothing of it stays."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from maestro.cli.demo import TOPICS, completed, pace_s, paces
from maestro.model.errors import Invalid
from tests.cli.conftest import CommandLine
from tests.installation import left_behind


@pytest.mark.parametrize(
    ("topic", "signs"),
    [
        ("tasks", ("1 passed", "8080")),
        ("workflow", ("check[1]  failed", "test#2    completed", "asks: Ship to production?", "shipped to production")),
        ("budget", ("outcome        budget", "paused      budget", "over_budget:", "--add-budget cost=2", "cost=2.25")),
        ("crash", ("kill -9 ", "the agent is gone", "  ended   lost", "  ended   ok", "differences_found  0")),
        (
            "approval",
            ("approval: gate", "an answer to: Ship 3 parts", "shipped to production", "ship   skipped", "Friday"),
        ),
        ("rollback", ("failsafe.returned", "-rw-r-----", "Chapter two", "failsafe: ", "of-a-person.md")),
    ],
)
def test_the_demo_tells_its_story_and_leaves_nothing(tmp_path: Path, topic: str, signs: tuple[str, ...]) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAESTRO_")}
    done = subprocess.run(
        [sys.executable, "-m", "maestro", "demo", topic],
        env={
            **env,
            "TMPDIR": str(tmp_path),
            "HOME": str(tmp_path),
            "MAESTRO_HOME": str(tmp_path / "the-users"),
            "MAESTRO_REDIS_URL": "redis://localhost:1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [sign for sign in signs if sign not in done.stdout]
    if topic == "crash":
        assert re.findall(r"Z  run\.ended +run:\S+-0\.(\d) ", done.stdout) == ["1", "2"]  # each run ended once
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


def test_ctrl_c_while_a_daemon_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    """On a terminal of 50 columns. The daemon is not seen by `maestro shutdown` before it holds its lock."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAESTRO_")}
    terminal, theirs = os.openpty()
    demo = subprocess.Popen(
        [
            "sh",
            "-c",
            'exec "$@" < "$0"',
            os.ttyname(theirs),
            sys.executable,
            "-m",
            "maestro",
            "demo",
            "crash",
            "--pace",
            "0.1",
        ],
        env={**env, "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "COLUMNS": "50", "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,  # and so the terminal is this session's
    )
    os.close(theirs)
    shown = b""
    while not (logs := list(tmp_path.glob("maestro-demo-*/home/daemon.log"))) and demo.poll() is None:
        shown += read(terminal)
    os.write(terminal, b"\x03")
    while demo.poll() is None:
        shown += read(terminal)
    os.close(terminal)
    assert demo.returncode == 130, shown
    assert list(tmp_path.iterdir()) == []
    assert left_behind(logs[0].parent) == []
    texts = [line for line in shown.decode().splitlines() if line.startswith("\x1b[1m# ")]
    assert len(texts) > 2
    assert max(map(len, texts)) < 50 + len("\x1b[1m\x1b[0m")


def read(terminal: int) -> bytes:
    """What a terminal shows next within a moment, or nothing at its end."""
    try:
        ready, _, _ = select.select([terminal], [], [], 0.01)
        return os.read(terminal, 65536) if ready else b""
    except OSError:  # Linux: the other end is closed
        return b""


def test_the_pace_is_named_or_in_seconds() -> None:
    assert [pace_s(text) for text in ("none", "0", "normal", "0.5", "slow", "60", "1m")] == [0, 0, 2, 0.5, 5, 60, 60]
    assert pace_s(None) == 0  # no terminal
    for text in ("fast", "", "-1", "61", "nan"):
        with pytest.raises(Invalid, match="is no pace"):
            pace_s(text)
    assert [name for name, _ in paces("n")] == ["none", "normal"]


def test_it_knows_its_topics(maestro: CommandLine) -> None:
    told = maestro.here("demo", "workflw")
    assert (told.code, told.err) == (3, "maestro: there is no demo 'workflw'; did you mean `maestro demo workflow`?\n")
    assert (
        maestro.here("demo", "\x1b[1m").err
        == "maestro: there is no demo '\\x1b[1m'; there are tasks, crash, rollback, workflow, budget and approval\n"
    )
    assert [topic for topic, _ in completed("w")] == ["workflow"]
    told = maestro.here("demo", "--help").out
    assert not [topic for topic in TOPICS if f"maestro demo {topic}" not in told]
    told = maestro.here("demo", "crash", "--pace", "fast")
    assert (told.code, told.err) == (
        2,
        "maestro: --pace: 'fast' is no pace; give seconds, 60 at most, or none, normal, slow\n",
    )
