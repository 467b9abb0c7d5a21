"""Temporary installations for benchmarks and chaos: a Maestro home, a store server, and the processes in them.

Everything lies below one short folder. A process belongs to a place when that folder's path is in its environment, its
arguments or its working folder, so that left-over processes can be found without asking Maestro.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import psutil

from maestro.config import Settings, load

START_S_MAX = 20.0
MAESTRO = str(Path(sys.executable).with_name("maestro"))


class Place:
    """A folder below the system's temp folder. At the end its processes are killed and it is deleted."""

    def __init__(self, name: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"m-{name}-"))

    def __enter__(self) -> Place:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        end(self.processes())
        shutil.rmtree(self.path, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """The live processes of this place, without this process and zombies."""
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._holds(process)]

    def _holds(self, process: psutil.Process) -> bool:
        mark = str(self.path)
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            return (
                os.fsencode(mark) in environment
                or any(mark in argument for argument in process.cmdline())
                or process.cwd().startswith(mark)
            )
        except (psutil.Error, OSError):
            return False


def end(processes: Iterable[psutil.Process]) -> None:
    """Kill these processes, continuing stopped ones first, and wait for them. They are known by pid and start time."""
    ended = list(processes)
    for process in ended:
        try:
            process.send_signal(signal.SIGCONT)
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(ended, timeout=10)


class Home:
    """An installation of its own: home, root of runs, agent types, and the command line in that environment."""

    def __init__(self, place: Place, name: str = "home", **variables: str) -> None:
        self.place = place
        self.maestro = MAESTRO
        self.path = place.path / name
        self.agents = place.path / f"{name}-agents.d"
        self.agents.mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MAESTRO_")}
        self.env = kept | {
            "MAESTRO_HOME": str(self.path),
            "MAESTRO_WORKSPACE_ROOT": str(place.path / f"{name}-runs"),
            "MAESTRO_AGENTS_DIR": str(self.agents),
            **variables,
        }
        if "MAESTRO_REDIS_URL" not in variables:
            self.path.mkdir(mode=0o700)
            (self.path / "store.json").write_text('{"kind":"embedded","why":"a tool asked for it"}')

    @property
    def settings(self) -> Settings:
        """The settings that a command of this installation sees."""
        return load(self.env, self.place.path)

    def define(self, slug: str, **keys: Any) -> None:
        """Write an agent type."""
        definition = {"slug": slug, "mode": "script", "adapter": "shell", **keys}
        (self.agents / f"{slug}.yaml").write_bytes(msgspec.json.encode(definition))

    def run(self, *words: str, check: bool = True, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `maestro <words>`; returns the finished process. Raises with its stderr if it fails and check is set."""
        argv = [self.maestro, *words]
        done = subprocess.run(
            argv,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            cwd=self.place.path,
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done

    def ask(self, *words: str) -> Any:
        """Run a command that prints JSON, and return the decoded data."""
        return msgspec.json.decode(self.run(*words, "--format", "json").stdout)


class Server:
    """A Valkey or Redis server on a unix socket, AOF on. fsync: `always`, `everysec` or `no`."""

    def __init__(self, place: Place, fsync: str, name: str = "server", *options: str) -> None:
        self.folder = place.path / name
        self.folder.mkdir(exist_ok=True)
        self.socket = self.folder / "s"
        self.url = f"unix://{self.socket}"
        self.argv = [server_binary(), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        self.argv += ["--appendonly", "yes", "--appendfsync", fsync, "--save", "", "--daemonize", "no", *options]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, also again after it was killed, and wait until it answers."""
        import redis

        self.socket.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline:
            try:
                with redis.Redis(unix_socket_path=str(self.socket)) as client:
                    client.ping()
                return
            except redis.RedisError:
                time.sleep(0.02)
        raise RuntimeError(f"the server in {self.folder} does not answer; see its file log")

    def stop(self) -> None:
        """Kill the server, and reap it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def server_binary() -> str:
    """The path of the server that the embedded store uses."""
    from maestro.store.embedded.binary import find_binary

    return str(find_binary())
