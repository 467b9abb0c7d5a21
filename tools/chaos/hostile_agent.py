"""An agent that does what it can to outlive its run: `python hostile_agent.py TOKEN BEHAVIOUR...`, stdlib only.

The token stands in the command line of all that it forks, by which a trial finds them however they hide. Where no
control group holds them, `bomb` and `eat` are bounded by the agent itself, for the machine's sake.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable

BOUNDED_BYTES = 256 * 1024 * 1024
PAUSE_S = 0.002


def orphan(then: Callable[[], object]) -> None:
    """Do it in a daemon: another session, another parent."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            then()
            os._exit(0)
        os._exit(0)


def wait() -> None:
    """Sleep for ever, deaf to what can be refused."""
    while True:
        time.sleep(1000)


def deaf() -> None:
    """Ignore every signal that can be ignored."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)


def daemon() -> None:
    """A daemon that is deaf too."""

    def hiding() -> None:
        deaf()
        wait()

    orphan(hiding)


def unmarked() -> None:
    """A daemon that has thrown its environment away, and with it the marks of its run."""
    orphan(lambda: os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:-1], "wait"], {}))


def hop() -> None:
    """A process that is always a new one: it forks and ends, for ever."""

    def hopping() -> None:
        deaf()
        while True:
            try:
                if os.fork() > 0:
                    os._exit(0)
            except OSError:
                pass
            os.setsid()
            time.sleep(PAUSE_S)

    orphan(hopping)


def bomb() -> None:
    """Forks without end, each child too."""

    def exploding() -> None:
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(PAUSE_S)

    orphan(exploding)


def eat() -> None:
    """Allocates without end."""
    orphan(_eating)


def bounded_eat() -> None:
    """The same up to a bound."""
    resource.setrlimit(resource.RLIMIT_AS, (BOUNDED_BYTES, BOUNDED_BYTES))
    orphan(_eating)


def _eating() -> None:
    kept = []
    while True:
        try:
            kept.append(b"x" * 1_000_000)
        except MemoryError:
            time.sleep(PAUSE_S)


def close() -> None:
    """Close all that was given to it."""
    os.closerange(0, 3)


def stop() -> None:
    """Stop itself, when all else is done."""
    signal.raise_signal(signal.SIGSTOP)


def flood() -> None:
    """Print what no terminal should see, for ever, without a line end."""
    orphan(lambda: [os.write(1, b"\x1b[31m\xff\xfe\x00" * 4096) for _ in iter(int, 1)])


BEHAVIOURS: dict[str, Callable[[], object]] = {
    "daemon": daemon,
    "unmarked": unmarked,
    "hop": hop,
    "bomb": bomb,
    "eat": eat,
    "bounded_eat": bounded_eat,
    "flood": flood,
    "deaf": deaf,
    "close": close,
    "stop": stop,
    "wait": wait,
}


if __name__ == "__main__":
    for name in sys.argv[2:]:
        BEHAVIOURS[name]()
    wait()
