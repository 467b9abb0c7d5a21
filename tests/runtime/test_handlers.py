"""The handlers of commands: every command has one, found without importing those of the others."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import msgspec
import pytest

from maestro.runtime import handlers
from maestro.runtime.protocol import messages as p

SCRIPT = """
import sys
import maestro.runtime.daemon.inprocess
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


@pytest.mark.parametrize("command", ["AgentList", "TaskList", "QueueStatus"])
def test_a_command_without_a_daemon_loads_no_more_than_it_needs(command: str) -> None:
    """All of redis-py, `redis.asyncio` included, and the handlers of others took longer than the work."""
    script = SCRIPT.format(command=command)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {"redis", "typer", "psutil"} & loaded
    others = {f"maestro.runtime.handlers.{name}" for name in ("doctor", "restores", "snapshots", "assignments")}
    assert not others & loaded
    assert "maestro.workspaces.archive.library" not in loaded
