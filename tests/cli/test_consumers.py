"""Those who read the log: `events tail` by number, by type and as a group that loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.conftest import CommandLine
from tests.installation import Installation

KEYS = 12


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose log has 12 keys set, and two of them deleted."""
    with Installation(tmp_path_factory.mktemp("consumers")) as installation:
        for number in range(KEYS):
            installation.json("state", "set", f"k{number}", str(number))
        for number in (0, 1):
            installation.json("state", "delete", f"k{number}")
        yield installation


@pytest.fixture
def tail(here: Installation, maestro: CommandLine) -> Any:
    """`events tail`, in this process: the positions that it shows."""
    maestro.env = here.env

    def seqs(*args: str) -> list[int]:
        return [event["seq"] for event in json.loads(maestro.here("events", "tail", *args).out)]

    return seqs


def test_the_newest_events_are_counted_by_what_is_shown(tail: Any) -> None:
    assert tail("--limit", "3") == [12, 13, 14]
    assert tail("--limit", "3", "--type", "state.set") == [10, 11, 12]
    assert tail("--limit", "99", "--type", "state.deleted") == [13, 14]
    assert tail("--type", "task") == []
    assert tail("--limit", "3", "--type", "state.deleted", "--type", "state.set") == [12, 13, 14]


def test_a_range_begins_at_its_position_and_keeps_to_the_limit(tail: Any) -> None:
    assert tail("--from", "11") == [11, 12, 13, 14]
    assert tail("--from", "2", "--limit", "2") == [2, 3]
    assert tail("--from", "12", "--limit", "2", "--type", "state.deleted") == [13, 14]
    assert tail("--from", "15") == []


def test_a_group_goes_on_where_it_stopped(tail: Any) -> None:
    assert tail("--group", "a", "--limit", "5") == [1, 2, 3, 4, 5]
    assert tail("--group", "a", "--limit", "1") == [6]
    assert tail("--group", "b", "--type", "state.deleted") == [13, 14]
    assert tail("--group", "b") == []
    assert tail("--group", "a") == list(range(7, 15))
    assert tail("--group", "a") == []


def test_a_group_follows_to_its_limit(here: Installation) -> None:
    here.json("events", "tail", "--group", "follower")
    words = [sys.executable, "-m", "maestro", "events", "tail", "--group", "follower", "--follow", "--limit", "2"]
    with subprocess.Popen(words, env=here.env, stdout=subprocess.PIPE, text=True) as process:
        first = here.json("state", "set", "later", "1")
        second = here.json("state", "set", "later", "2")
        out, _ = process.communicate(timeout=30)
    assert [json.loads(line)["data"]["value"] for line in out.splitlines()] == [first["value"], second["value"]]
    assert here.json("events", "tail", "--group", "follower") == []


def acknowledging(here: Installation, group: str, said: str) -> subprocess.CompletedProcess[str]:
    """A group's reader that follows, and has its events taken as far as it says."""
    return here.run("events", "tail", "--group", group, "--follow", "--acknowledge", "--limit", "4", stdin=said)


def test_what_a_reader_has_read_and_not_acknowledged_is_shown_again(here: Installation) -> None:
    def shown(done: subprocess.CompletedProcess[str]) -> list[int]:
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["seq"] for line in done.stdout.splitlines()]

    assert shown(acknowledging(here, "careful", "")) == [1, 2, 3, 4]
    assert shown(acknowledging(here, "careful", "1\n2")) == [1, 2, 3, 4]
    assert shown(acknowledging(here, "careful", "3\n4\n6\n")) == [3, 4, 5, 6]
    assert shown(acknowledging(here, "careful", "")) == [7, 8, 9, 10]


def test_what_is_no_acknowledgement_is_refused(here: Installation) -> None:
    for said in ("5\n", "two\n", "-1\n", "\n", "\x1b[1m\n"):
        done = acknowledging(here, "careless", said)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "is no seq of an event that was printed" in done.stderr and "\x1b" not in done.stderr
    assert here.json("events", "tail", "--group", "careless", "--limit", "1")[0]["seq"] == 1
    assert here.run("events", "tail", "--group", "careless", "--acknowledge").returncode == 2
    assert here.run("events", "tail", "--follow", "--acknowledge").returncode == 2


def test_what_a_reader_did_not_take_is_shown_again(here: Installation) -> None:
    words = [sys.executable, "-m", "maestro", "events", "tail", "--group", "fragile", "--follow"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, env=here.env, stdout=full, stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert here.json("events", "tail", "--group", "fragile", "--limit", "1")[0]["seq"] == 1
