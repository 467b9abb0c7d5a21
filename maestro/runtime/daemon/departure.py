"""The departure of a daemon: at a signal the node takes no more work, and its runs are ended, also in the log.

The runs are `lost (restart)`, which does not count as a try, and the node is held until its next daemon joins, so that
no run is released meanwhile to a node that would not start it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import trio

from maestro.model.errors import MaestroError
from maestro.model.node import decide_hold
from maestro.model.outcome import RESTART
from maestro.runtime.daemon.residence import Residence
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.node_daemon import NodeDaemon
from maestro.runtime.worker.run_end import DAEMON_STOPPED
from maestro.runtime.worker.worker import Worker
from maestro.store.contract import Append

END_S_MAX = 30.0
"""How long a daemon that ends waits for the ends of its runs; longer where the grace of one of them is."""
HOLD_S_MAX = 5.0
AFTER_GRACE_S = 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def listen_signals(daemon: NodeDaemon, worker: Worker, residence: Residence) -> None:
    """End the daemon in order at SIGTERM, SIGINT, or when its terminal is closed. More of them change nothing."""

    def late(_number: int, _frame: FrameType | None) -> None:
        residence.signalled = True

    for each in SIGNALS:  # what trio puts back: while the last things are done, the default would end the daemon
        signal.signal(each, late)
    with trio.open_signal_receiver(*SIGNALS) as received, _noted_at_once(worker):
        async for number in received:
            log.info("signal %d: stopping", number)
            daemon.stop()


@contextmanager
def _noted_at_once(worker: Worker) -> Iterator[None]:
    """Have the worker know of a signal from within the signal's handler, before any task goes on.

    A service manager may signal the agents right behind the daemon, and then the worker must not hear first how these
    ended.
    """

    def note(wake: Callable[[int, FrameType | None], object], number: int, frame: FrameType | None) -> None:
        worker.departing = True
        wake(number, frame)

    for number in SIGNALS:
        wake = signal.getsignal(number)
        assert callable(wake)
        signal.signal(number, partial(note, wake))
    yield  # trio puts back what was there before its own


async def end_runs(context: Context, daemon: NodeDaemon, worker: Worker) -> None:
    """Stop all runs, and wait until their ends are in the log.

    While the store is away the ends cannot get there: then they lie in the folders of the runs, for the next daemon.
    """
    gateway = context.gateway

    def away() -> bool:
        return daemon.follower.away or gateway.away_since is not None

    worker.drain()
    async with trio.open_nursery() as nursery:
        if worker.departing and daemon.evicted is None:
            nursery.start_soon(_hold, context, daemon)
        gone = daemon.evicted is not None
        worker.stop_all(daemon.evicted.what if daemon.evicted else DAEMON_STOPPED, force=gone, lost=True)
        grace_s = max((run.programs.grace_s for run in worker.runs.values()), default=0.0)
        deadline = trio.current_time() + max(END_S_MAX, grace_s + AFTER_GRACE_S)
        while trio.current_time() < deadline and any(not (run.over and away()) for run in worker.runs.values()):
            with trio.move_on_after(0.5):
                await worker.empty()
        if away():
            nursery.cancel_scope.cancel()
    if worker.departing and _is_service():
        context.stop_store = True
    if away():
        log.warning("the store is away: %d runs are ended at the next start", len(worker.runs))
        gateway.give_up()


def _is_service() -> bool:
    """Whether all that the daemon has started is killed when it ends, so that it must stop the embedded store first.

    So it is where a service manager has started the daemon, or where the daemon is the first process of a container.
    """
    return os.getpid() == 1 or os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())


async def _hold(context: Context, daemon: NodeDaemon) -> None:
    """Hold this node, before the first of its runs has ended, so that none of them is released to it again."""
    plan = daemon.follower.plan
    node = plan.nodes.get(context.node)
    events = decide_hold(node, RESTART, plan.floor) if node is not None else []
    try:
        if events:
            await context.gateway.append(Append(tuple(events), f"node:{context.node}", "signal"), HOLD_S_MAX)
    except MaestroError as error:
        log.warning("holding this node: %s", error.line())
