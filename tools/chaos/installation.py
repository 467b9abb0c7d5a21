"""An installation under chaos: a home of its own, and a supervisor that restarts its daemon as systemd would."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import psutil

from maestro.model.events import Event
from maestro.store.contract import Store
from maestro.store.embedded import embedded_server
from maestro.store.redis.redis_store import open_redis
from tools.place import Home, Place, Server

MAX_CONCURRENT = 3
APPEAR_S_MAX = 30.0
LEAVE_S_MAX = 15.0
POLL_S = 0.05
LAUNCHER = "maestro.runtime.supervision.launcher"
AGENT = "chaos/agent.py"

T = TypeVar("T")


class Installation:
    """An installation for one trial.

    url: of the store, None for the embedded one. name: of the home. within: what stands before the daemon's command.
    servers: servers that the trial itself runs.
    exits: the daemon's exit codes so far. python: of the environment that its Maestro is installed in.
    lost_tail: a failover lost events; lost: the tasks and state keys among them.
    breaches: breaches that a strike has seen. away: its daemon is not started again while this is set.
    """

    def __init__(
        self,
        place: Place,
        url: str | None = None,
        servers: tuple[Server, ...] = (),
        name: str = "home",
        within: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        named = dict(variables or {}) | ({} if url is None else {"MAESTRO_REDIS_URL": url})
        concurrent = str(MAX_CONCURRENT)
        self.place = place
        self.servers = servers
        self.name = name
        self.within = within
        self.python = sys.executable
        self.home = Home(place, name, MAESTRO_AUTOSTART="false", MAESTRO_MAX_CONCURRENT=concurrent, **named)
        self.url = url or embedded_server.url(self.home.path)
        self.exits: list[int] = []
        self.lost_tail = False
        self.lost: set[str] = set()
        self.breaches: list[str] = []
        self.away = threading.Event()
        self._daemon: subprocess.Popen[bytes] | None = None
        self._supervised = threading.Event()

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Keep the daemon running within the block, restarting it whenever it ends; shut it down at the end."""
        self._supervised.set()
        thread = threading.Thread(target=self._supervise, name="supervisor")
        thread.start()
        try:
            yield
        finally:
            self._supervised.clear()
            thread.join()
            self._shut_down()

    def _supervise(self) -> None:
        log_name = "daemon.log" if self.name == "home" else f"{self.name}.log"
        with (self.place.path / log_name).open("ab") as log:
            while self._supervised.is_set():
                if self.away.is_set():
                    time.sleep(POLL_S)
                    continue
                self._daemon = subprocess.Popen(
                    [*self.within, self.python, "-m", "maestro", "worker"],
                    env=self.home.env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.place.path,
                    start_new_session=True,
                )
                while self._supervised.is_set() and self._daemon.poll() is None:
                    time.sleep(POLL_S)
                if self._daemon.returncode is not None:
                    self.exits.append(self._daemon.returncode)

    def _shut_down(self) -> None:
        words = [*self.within, self.home.maestro, "shutdown", "--grace-period", "1"]
        subprocess.run(words, env=self.home.env, capture_output=True, cwd=self.place.path, timeout=120, check=False)
        if self._daemon is not None:
            with suppress(subprocess.TimeoutExpired):
                self._daemon.wait(LEAVE_S_MAX)

    def left_over(self) -> list[psutil.Process]:
        """The processes still alive a while after the end, without the trial's own servers."""
        return left_over(self.place, {one.process.pid for one in self.servers if one.process is not None})

    def open_store(self) -> Store:
        """Open the store directly, next to the daemon."""
        return open_redis(self.url, self.home.settings.namespace)

    def events(self) -> list[Event]:
        """All events of the log."""
        store = self.open_store()
        try:
            found: list[Event] = []
            while events := store.log.read(len(found), 1000):
                found += events
            return found
        finally:
            store.close()

    # ---- processes of the installation; each is waited for ----

    def daemon(self) -> psutil.Process:
        """The running daemon; waits for it."""
        return appear("daemon", self._running)

    def launcher(self) -> psutil.Process:
        """The launcher below the daemon; waits for it."""
        return appear("launcher", self._launcher)

    def warden(self) -> psutil.Process:
        """A warden with a running agent; waits for it."""
        return appear("warden with an agent", self._warden)

    def embedded_server(self) -> psutil.Process:
        """The embedded server, by its pid file; waits for it."""
        return appear(
            "embedded server", lambda: psutil.Process(int(embedded_server.server_paths(self.home.path).pid.read_text()))
        )

    @property
    def answers(self) -> bool:
        """Whether a daemon runs that can be asked."""
        return self._running() is not None and (self.home.path / "daemon.sock").exists()

    def _running(self) -> psutil.Process | None:
        daemon = self._daemon
        return psutil.Process(daemon.pid) if daemon is not None and daemon.poll() is None else None

    def _launcher(self) -> psutil.Process | None:
        daemon = self._running()
        below = [] if daemon is None else daemon.children()
        return next((process for process in below if mentions(process, LAUNCHER)), None)

    def _warden(self) -> psutil.Process | None:
        launcher = self._launcher()
        wardens = [] if launcher is None else launcher.children()
        return next((one for one in wardens if any(mentions(below, AGENT) for below in one.children(True))), None)


def left_over(place: Place, own: set[int]) -> list[psutil.Process]:
    """The processes of a place that are still alive a while after the end. own: those that the trial itself runs."""
    deadline = time.monotonic() + LEAVE_S_MAX
    while True:
        left = [process for process in place.processes() if process.pid not in own]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(POLL_S)


def mentions(process: psutil.Process, what: str) -> bool:
    """Whether the command line of a process contains this text."""
    return what in " ".join(process.cmdline())


def appear(name: str, find: Callable[[], T | None]) -> T:
    """The first result of `find` that is not None, retrying until then. Raises TimeoutError."""
    deadline = time.monotonic() + APPEAR_S_MAX
    while time.monotonic() < deadline:
        with suppress(psutil.Error, OSError, ValueError):
            if (found := find()) is not None:
                return found
        time.sleep(0.005)
    raise TimeoutError(f"no {name} after {APPEAR_S_MAX:.0f} s")
