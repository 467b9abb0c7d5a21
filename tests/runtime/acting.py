"""Several nodes on one store, and what may happen to them: killed, stopped, cut off from the store by a proxy."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maestro.model.events import Event
from maestro.store.redis.redis_store import RedisStore, open_redis
from tests.installation import Installation

PATIENCE_S = 60.0


def until(true: Callable[[], object], seconds: float = PATIENCE_S) -> Any:
    """Wait for it, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s too long"
        time.sleep(0.05)
    return found


def marked(mark: str) -> list[int]:
    """Processes whose environment says MARK=<mark>."""
    return [pid for pid in _pids() if f"MARK={mark}".encode() in _environ(pid)]


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def processes_of(node: Installation) -> list[int]:
    """Everything that carries the mark of its MAESTRO_HOME: daemon, launcher, wardens, agents."""
    mark = f"MAESTRO_HOME={node.home}".encode()
    return [pid for pid in _pids() if pid != os.getpid() and mark in _environ(pid)]


class Node(Installation):
    """An installation whose daemon is known and may be hurt."""

    def __init__(self, folder: Path, **env: str) -> None:
        super().__init__(folder, **env)
        self.url = env.get("MAESTRO_REDIS_URL", f"unix://{self.home}/store/store.sock")
        self.namespace = self.env["MAESTRO_NAMESPACE"]

    @property
    def id(self) -> str:
        return str(json.loads((self.home / "node.json").read_text())["node"])

    @property
    def pid(self) -> int:
        """Of its daemon, which must run."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.home / "daemon.sock"))
            return int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), "little")

    def up(self) -> Node:
        self.json("up")
        return self

    def kill(self) -> None:
        """Its daemon, at once; its runs end with it."""
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def dispatch(self, prompt: str, *words: str, code: int = 0, **named: Any) -> dict[str, Any]:
        done = self.run("task", "dispatch", prompt, *words, **named)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        row: dict[str, Any] = json.loads(done.stdout)
        return row

    def task(self, task: str) -> dict[str, Any]:
        row: dict[str, Any] = self.json("task", "status", task)
        return row

    def log(self) -> str:
        return (self.home / "daemon.log").read_text()

    def store(self) -> RedisStore:
        """The store as another process would open it; the caller closes it."""
        return open_redis(self.url, self.namespace)

    def events(self, kind: str = "") -> list[Event]:
        """The log, or the events of one type."""
        store = self.store()
        try:
            found = store.log.read(0, 1_000_000)
        finally:
            store.close()
        return [event for event in found if not kind or event.type == kind]

    def ends(self) -> dict[str, int]:
        """How often each run has ended."""
        counts: dict[str, int] = {}
        for event in self.events("run.ended"):
            counts[event.subject] = counts.get(event.subject, 0) + 1
        return counts


class Proxy:
    """A unix socket before another one. `cut` lets nothing through; what was on its way arrives after `heal`."""

    def __init__(self, target: Path) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="mp")) / "s"
        self._target = str(target)
        self._open = threading.Event()
        self._open.set()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    def cut(self) -> None:
        self._open.clear()

    def heal(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.set()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
            except OSError:
                return
            for ends in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._open.wait()
                sink.sendall(data)
        except OSError:
            pass
        self._open.wait()
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def ended(pid: int) -> bool:
    """Gone, or dead: a test run that is a subreaper, as some tests make it, has the daemons of others to reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
