"""A daemon whose clients go at a counted step of what they asked for; run as `python -m tests.runtime.leaving`.

LEAVE_AT names a file with the name of a command and a number: at that step of its handler the command is cancelled, as
it is when its client is killed. How many steps each took is written beside it, to `<file>.<command>`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from maestro import config
from maestro.runtime.daemon import daemon
from maestro.runtime.node.context import Call, Context
from maestro.runtime.protocol import messages as p
from maestro.runtime.server import connection

ORDERS = Path(os.environ["LEAVE_AT"])


class Steps(trio.abc.Instrument):
    """The steps of one handler, told from all others by its task."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, at: int) -> None:
        self.count = 0
        self._task, self._scope, self._at = task, scope, at

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self.count += 1
            if self.count == self._at:
                self._scope.cancel()


carried_out, watched = connection._carry_out, connection._watch_client
commands: dict[int, str] = {}


async def carry_out(context: Context, peer: connection.Peer, call: Call, command: p.AnyCommand) -> None:
    commands[id(call)] = type(command).__name__
    await carried_out(context, peer, call, command)


async def watch(peer: connection.Peer, call: Call, scope: trio.CancelScope) -> None:
    name = commands.pop(id(call))
    wanted, at = ORDERS.read_text().split()
    nursery = trio.lowlevel.current_task().parent_nursery
    assert nursery is not None
    steps = Steps(nursery.parent_task, scope, int(at) if name == wanted else 0)
    trio.lowlevel.add_instrument(steps)
    try:
        await watched(peer, call, scope)
    finally:
        trio.lowlevel.remove_instrument(steps)
        ORDERS.with_name(f"{ORDERS.name}.{name}").write_text(str(steps.count))


if __name__ == "__main__":
    connection._carry_out, connection._watch_client = carry_out, watch
    sys.exit(daemon.main(config.load()))
