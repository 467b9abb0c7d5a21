"""A home without a daemon, or with one that a test scripts, and work with a client on both event loops."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import msgspec
import pytest

from maestro import connect
from maestro.library.async_client import AsyncMaestro
from tests.cli.scripted import Scripted

both = pytest.mark.parametrize("backend", ["trio", "asyncio"])


class Waiting(Scripted):
    """A server that answers with what it has, and then never: it reads on, and tells when the client has gone."""

    def __init__(self, path: Path) -> None:
        self.first: list[msgspec.Struct] = []
        self.gone = threading.Semaphore(0)
        super().__init__(path)
        self.script = lambda _: self.first
        self.until_interrupt = []

    def _serve(self, sock: object) -> None:
        try:
            super()._serve(sock)  # type: ignore[arg-type]
        except (StopIteration, ConnectionResetError, BrokenPipeError):  # the client has closed, and sent no interrupt
            self.gone.release()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """MAESTRO_HOME, on a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="mlib-", dir="/tmp"))
    for name in [name for name in os.environ if name.startswith(("MAESTRO_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setenv("MAESTRO_HOME", str(path))
    monkeypatch.setenv("MAESTRO_AUTOSTART", "off")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(home: Path) -> Iterator[Scripted]:
    """A scripted daemon that answers in this home."""
    server = Scripted(home / "daemon.sock")
    yield server
    server.close()


@pytest.fixture
def waiting(home: Path) -> Iterator[Waiting]:
    """A daemon that never ends its answers."""
    server = Waiting(home / "daemon.sock")
    yield server
    server.close()


def runs(backend: str, work: Callable[[AsyncMaestro], Awaitable[object]]) -> None:
    """Do some work with a client on one of the event loops, within 20 s."""

    async def main() -> None:
        with anyio.fail_after(20):
            async with connect() as client:
                await work(client)

    anyio.run(main, backend=backend)
