"""The consumers of tools/examples lose no event and keep none twice, each where its language is on this machine."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import sources
from tests.installation import Installation

FOLDER = sources.ROOT / "tools" / "examples" / "consumers"
LANGUAGES = [language for language in ("node", "go") if shutil.which(language)]
RUNS = 4


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation in which four runs have ended."""
    with Installation(tmp_path_factory.mktemp("ledgers")) as installation:
        installation.agent_type("tester", mode="script", adapter="shell")
        for number in range(RUNS):
            installation.run("task", "dispatch", f"exit {number}", "--to", "tester", "--sync")
        yield installation


@pytest.fixture(params=LANGUAGES)
def program(request: pytest.FixtureRequest, here: Installation, tmp_path: Path) -> list[str]:
    """The command of a consumer."""
    if request.param == "node":
        return ["node", str(FOLDER / "ledger.mjs")]
    built = here.folder / "ledger"
    if not built.exists():
        subprocess.run(["go", "build", "-o", built, FOLDER / "ledger.go"], check=True, timeout=300)
    return [str(built)]


def entries(ledger: Path) -> list[dict[str, Any]]:
    """The lines of a ledger."""
    return [json.loads(line) for line in ledger.read_text().splitlines()]


def test_it_keeps_each_run_once_whatever_it_was_stopped_in(
    here: Installation, program: list[str], tmp_path: Path
) -> None:
    ended = here.json("events", "tail", "--type", "run.ended", "--limit", "9")
    assert len(ended) == RUNS
    ledger, group = tmp_path / "ledger.jsonl", f"crashed-{program[0].rpartition('/')[2]}"

    def follow(limit: int) -> None:
        subprocess.run([*program, group, str(ledger), str(limit)], env=here.env, check=True, timeout=60)

    follow(2)
    assert [entry["seq"] for entry in entries(ledger)] == [event["seq"] for event in ended[:2]]
    # As after a crash: the third is on the disk and was not acknowledged, the fourth was half written.
    third = {"seq": ended[2]["seq"], "time": ended[2]["time"], "run": ended[2]["subject"], "outcome": "exit"}
    with ledger.open("a") as file:
        file.write(json.dumps(third) + '\n{"seq":')
    follow(2)
    assert [entry["seq"] for entry in entries(ledger)] == [event["seq"] for event in ended]
    assert [entry["outcome"] for entry in entries(ledger)] == [event["data"]["outcome"] for event in ended]
    assert here.json("events", "tail", "--group", group, "--type", "run.ended") == []


def test_it_ends_where_it_is_told_to_and_says_what_it_takes(
    here: Installation, program: list[str], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with subprocess.Popen([*program, f"stopped-{program[0].rpartition('/')[2]}", str(ledger)], env=here.env) as process:
        for _ in range(3000):
            if ledger.exists() and ledger.read_text().count("\n") == RUNS:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    done = subprocess.run(program, env=here.env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("usage:")
