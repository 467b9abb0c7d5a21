"""Hosts as network namespaces: a bridge in one of its own, and a host in each of the others, on one private network.

Nothing of it is in the machine's own network. A host is cut off at its port of the bridge, which loses what goes both
ways without a word; a route into a black hole loses what goes one way. What is above TCP alone (a slow line, a line
that breaks) is done by a proxy, whose sockets lie in the namespace of a host.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")

NETWORK = "10.213.77"
CLONE_NEWNET = 0x40000000


class Host:
    """One host. name: of its port of the bridge; address: its own; space: its namespace.

    python: of the environment that Maestro is installed in there, "" for the one of this process.
    """

    def __init__(self, switch: str, name: str, number: int) -> None:
        self.name = name
        self.address = f"{NETWORK}.{number}"
        self.space = f"{switch}-{name}"
        self.python = ""
        self._switch = switch

    @property
    def within(self) -> list[str]:
        """What stands before a command that is to run on this host; it sees the same files."""
        return ["nsenter", f"--net=/run/netns/{self.space}"]

    def cut_off(self) -> None:
        """Lose all that goes to this host and comes from it."""
        ip("-n", self._switch, "link", "set", self.name, "down")

    def join(self) -> None:
        """End `cut_off`."""
        ip("-n", self._switch, "link", "set", self.name, "up")

    def deny(self, other: Host) -> None:
        """Lose what this host sends to another one; what comes from there arrives."""
        ip("-n", self.space, "route", "replace", "blackhole", f"{other.address}/32")

    def allow(self, other: Host) -> None:
        """End `deny`."""
        ip("-n", self.space, "route", "del", "blackhole", f"{other.address}/32", check=False)

    def socket_of(self, make: Callable[[], T]) -> T:
        """What `make` returns when it runs on this host: a socket made there stays there."""
        made: list[T] = []
        failed: list[BaseException] = []

        def enter() -> None:
            with Path(f"/run/netns/{self.space}").open("rb") as space:
                if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), CLONE_NEWNET):
                    failed.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                made.append(make())
            except BaseException as error:  # noqa: BLE001  raised again, in the thread that asked
                failed.append(error)

        thread = threading.Thread(target=enter, name=f"on {self.name}")
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]


class Hosts:
    """The hosts of one trial and the switch between them. Use as a context manager: the end removes all of it."""

    def __init__(self, *names: str) -> None:
        self._switch = f"mch{os.urandom(3).hex()}"
        self._made: list[str] = []
        self._hosts = {name: Host(self._switch, name, number) for number, name in enumerate(names, 1)}

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def __enter__(self) -> Hosts:
        try:
            self._add(self._switch)
            ip("-n", self._switch, "link", "add", "bridge", "type", "bridge")
            ip("-n", self._switch, "link", "set", "bridge", "up")
            for host in self._hosts.values():
                self._add(host.space)
                port = ("veth", "peer", "name", "net", "netns", host.space)
                ip("-n", self._switch, "link", "add", host.name, "type", *port)
                ip("-n", self._switch, "link", "set", host.name, "master", "bridge", "up")
                ip("-n", host.space, "address", "add", f"{host.address}/24", "dev", "net")
                ip("-n", host.space, "link", "set", "net", "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._remove()

    def _add(self, space: str) -> None:
        ip("netns", "add", space)
        self._made.append(space)
        ip("-n", space, "link", "set", "lo", "up")

    def _remove(self) -> None:
        for space in reversed(self._made):
            ip("netns", "del", space, check=False)

    def heal(self) -> None:
        """End all that `cut_off` and `deny` have done."""
        for host in self._hosts.values():
            host.join()
            for other in self._hosts.values():
                host.allow(other)


def ip(*words: str, check: bool = True) -> None:
    """Run `ip`. Raises OSError with what it said."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def hindrance() -> str:
    """Why there can be no hosts here, in a line; "" where there can."""
    if lacking := [name for name in ("ip", "nsenter") if shutil.which(name) is None]:
        return f"no {' and no '.join(lacking)} on PATH (packages iproute2 and util-linux)"
    try:
        with Hosts("trial"):
            return ""
    except OSError as error:
        return f"network namespaces cannot be made: {error}"


@functools.cache
def clock_library() -> str:
    """The library that gives a process another time of day, "" where there is no compiler to make it."""
    compiler = shutil.which("cc")
    if compiler is None:
        return ""
    made = Path(tempfile.mkdtemp(prefix="clock-")) / "clock.so"
    atexit.register(shutil.rmtree, made.parent, ignore_errors=True)
    source = Path(__file__).with_name("clock.c")
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source)]
    return str(made) if subprocess.run(words, capture_output=True, check=False).returncode == 0 else ""


def clock_apart(hours: float) -> dict[str, str]:
    """The variables that put the clock of a process apart, {} where that cannot be."""
    library = clock_library() if hours else ""
    return {"LD_PRELOAD": library, "CLOCK_APART_S": f"{hours * 3600:.0f}"} if library else {}


def listening(host: Host, port: int) -> socket.socket:
    """A socket that listens on a host's loopback interface."""

    def make() -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(128)
        return made

    return host.socket_of(make)
