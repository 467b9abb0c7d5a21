"""One installation with a history, and a board over it, for all tests of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.board import browsers
from tests.board.boards import RunningBoard
from tests.installation import Installation

WORKFLOW = {
    "name": "Ship",
    "steps": [
        {"id": "parts", "run": "echo [1,2,3,4,5,6,7]"},
        {"id": "check", "needs": ["parts"], "for_each": "{{ steps.parts.json }}", "run": "echo {{ item }}"},
        {
            "id": "gate",
            "needs": ["check"],
            "approval": {"prompt": "Ship it?\nAll of it.", "timeout": "24h", "on_timeout": "reject"},
        },
        {"id": "ship", "needs": ["gate"], "run": "echo shipped"},
    ],
}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Agents, tasks that ended in several ways, state, a workflow that waits for a person, a snapshot, a restore."""
    with Installation(tmp_path_factory.mktemp("board")) as place:
        fill(place)
        yield place


@pytest.fixture(scope="module")
def board(installation: Installation) -> Iterator[RunningBoard]:
    """A board that may act, entered."""
    with RunningBoard(installation, "--allow-actions") as running:
        yield running


@pytest.fixture(scope="module", params=browsers.CHROMIUMS)
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A real Chromium."""
    with browsers.chromium(request.param) as found:
        yield found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what of the board was left out."""
    for what in browsers.LEFT_OUT:
        terminalreporter.write_line(f"left out: {what}")


def fill(place: Installation) -> None:
    """Make the history."""
    for agent in ("ann", "ben"):
        place.agent_type(agent, adapter="shell")
        place.json("agent", "assign", agent, "--to-workspace", str(place.folder / "work" / agent))
    place.json("state", "set", "port", "8080")
    done = place.json("task", "dispatch", "echo one > one.txt; echo done", "--to", "ann", "--sync")
    place.json("task", "dispatch", "true", "--to", "ben", "--depends-on", done["id"], "--sync")
    assert place.run("task", "dispatch", "exit 3", "--to", "ben", "--sync").returncode
    place.json("state", "snapshot", "--output", str(place.folder / "snap.tar.gz"))
    place.json("state", "set", "port", "9090")
    place.json("task", "dispatch", "echo two > one.txt", "--to", "ann", "--sync")
    place.json("state", "restore", str(place.folder / "snap.tar.gz"))
    file = place.folder / "ship.yaml"
    file.write_text(json.dumps(WORKFLOW))
    place.json("workflow", "create", "ship", "--definition", str(file))
    place.json("workflow", "run", "ship", "--async")
    place.json("task", "dispatch", "sleep 600", "--to", "ann", "--async")
    place.json("task", "dispatch", "true", "--to", "ann", "--async")
