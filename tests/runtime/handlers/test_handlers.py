"""The handlers of commands: every command has one, found without importing those of the others."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import msgspec
import pytest

from maestro import config
from maestro.model.errors import MaestroError, Refused
from maestro.runtime import handlers
from maestro.runtime.client.client import execute
from maestro.runtime.daemon import plain_server
from maestro.runtime.daemon.store_access import open_store
from maestro.runtime.protocol import messages as p
from projections.bounding import bounds
from replayers.timeline.timeline import Timeline
from tests.runtime.acting import Node

SCRIPT = """
import sys
import maestro.runtime.daemon.plain_server
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.protocol import messages as p
HANDLERS[p.{command}]
print(*sys.modules)
"""


def test_every_command_has_its_handler_in_the_module_that_is_said_to_hold_it() -> None:
    for module, commands in handlers._MODULES.items():
        assert set(import_module(f"maestro.runtime.handlers.{module}").HANDLERS) == set(commands)
    commands = {kind for kind in vars(p).values() if isinstance(kind, type) and issubclass(kind, p.Command)}
    assert set(handlers._MODULE_OF) == commands - {p.Command}


def test_a_daemon_has_all_of_them_at_hand() -> None:
    table = handlers.Handlers()
    table.load()
    assert set(table) == set(handlers._MODULE_OF)
    assert all(issubclass(command, msgspec.Struct) for command in table)


@pytest.mark.parametrize("command", ["AgentList", "TaskList", "TaskStatus", "QueueStatus"])
def test_a_command_without_a_daemon_loads_no_more_than_it_needs(command: str) -> None:
    """trio, all of redis-py, and the handlers of other commands took ten times as long as the work."""
    script = SCRIPT.format(command=command)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {"trio", "redis", "typer", "psutil", "yaml"} & loaded
    others = {f"maestro.runtime.handlers.{name}" for name in ("doctor", "restores", "snapshots", "assignments")}
    assert not others & loaded
    assert "maestro.workspaces.archive.library" not in loaded


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """An installation without a daemon, in whose log one task has ended."""
    with Node(tmp_path_factory.mktemp("reads")) as node:
        node.json("agent", "assign", "shell", "--name", "w", "--to-workspace", f"{node.folder}/w")
        node.dispatch("true", "--to", "w", "--sync")
        node.json("shutdown")
        yield node


@pytest.mark.parametrize("command", [p.AgentList(), p.TaskList(), p.QueueStatus(), p.AgentList(status="odd")])
def test_a_command_that_only_reads_answers_as_the_server_with_trio_does(
    node: Node, command: p.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config.load(node.env)
    plain = told(command, settings)
    with monkeypatch.context() as with_trio:
        with_trio.setattr(plain_server, "READS", ())
        assert plain == told(command, settings)
    assert plain


def test_replay_shows_by_the_timeline_what_the_log_says(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, asked = config.load(node.env), list[int]()
    look, commands = Timeline.at, (p.ReplayAt("9", "tasks"), p.ReplayAt("7", "agents"), p.ReplayDiff("3", "9"))
    without = [told(command, settings) for command in commands]
    monkeypatch.setattr(bounds, "EVERY", 4)
    store = open_store(settings)
    Timeline.open(store, settings.home).catch_up()
    store.close()
    monkeypatch.setattr(Timeline, "at", lambda timeline, position: asked.append(position) or look(timeline, position))
    assert [told(command, settings) for command in commands] == without
    assert asked == [9, 7, 3, 9]

    def refused(timeline: Timeline, position: int) -> None:
        raise Refused(f"its disk is full, at {position}")

    monkeypatch.setattr(Timeline, "at", refused)
    assert [told(command, settings) for command in commands] == without


def told(command: p.Command, settings: config.Settings) -> str:
    """All that a client is shown, and how it ended."""
    shown: list[object] = []
    try:
        end: object = execute(command, settings, shown.append)
    except MaestroError as error:
        end = p.Failed(error.code, error.exit_code, error.what, error.where, error.mend)
    return re.sub(r"'heartbeat_age_s': [0-9.]+", "", f"{shown} {end}")  # time goes on
