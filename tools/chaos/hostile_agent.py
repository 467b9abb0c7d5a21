"""An agent that does what it can to outlive its run: `python hostile_agent.py TOKEN BEHAVIOUR...`.

Standard library only. The token is in the command line of all its forks, so that a trial finds them however they hide.
Where no control group limits them, `bounded_eat` limits itself, for the machine's sake.
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
    """Call `then` in a daemon: in another session, with another parent."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            then()
            os._exit(0)
        os._exit(0)


def wait() -> None:
    """Sleep for ever."""
    while True:
        time.sleep(1000)


def deaf() -> None:
    """Ignore every signal that can be ignored."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)


def daemon() -> None:
    """Fork a daemon that ignores signals too."""

    def hiding() -> None:
        deaf()
        wait()

    orphan(hiding)


def unmarked() -> None:
    """Fork a daemon without environment, and so without the marks of its run."""
    orphan(lambda: os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:-1], "wait"], {}))


def hop() -> None:
    """Fork a process that is always a new one: it forks and exits, for ever."""

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
    """Fork without end, in each child too."""

    def exploding() -> None:
        while True:
            try:
                os.fork()
            except OSError:
                time.sleep(PAUSE_S)

    orphan(exploding)


def eat() -> None:
    """Allocate memory without end."""
    orphan(_eating)


def bounded_eat() -> None:
    """Allocate memory up to a limit."""
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
    """Close all standard streams."""
    os.closerange(0, 3)


def stop() -> None:
    """Stop this process, after all other behaviours."""
    signal.raise_signal(signal.SIGSTOP)


def flood() -> None:
    """Print control sequences for ever, without a line end."""
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
