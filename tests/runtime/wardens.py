"""A launcher with real wardens and real agents, for tests: a `Rig`, and the check that nothing outlives it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import trio

from maestro.runtime.supervision import cgroup_root
from maestro.runtime.supervision.exit_record import read_record
from maestro.runtime.supervision.spec import HOME_MARK, LAUNCHER_MARK, End, Spec, Started
from maestro.runtime.worker.launcher_client import LauncherClient, RunProcess

PATIENCE_S = 10.0


class Rig:
    """An installation below `folder` with its launcher; each run has a folder and, named by it, a workspace."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.launcher = LauncherClient(self.home)
        self._folder = folder
        for name in ("runs", "locks", "workspace"):
            (self.home / name).mkdir(parents=True, exist_ok=True)

    def folder(self, run: str) -> Path:
        return self.home / "runs" / run

    def spec(self, run: str, *argv: str, **fields: Any) -> Spec:
        """A run of a program, or of one shell script."""
        attempt = self.folder(run)
        attempt.mkdir(exist_ok=True)
        command = ["/bin/sh", "-c", argv[0]] if len(argv) == 1 else list(argv)
        given: dict[str, Any] = {
            "env": {"PATH": os.environ["PATH"]},
            "cwd": str(self.home / "workspace"),
            "log": str(attempt / "agent.log"),
            "record": str(attempt / "exit.json"),
            "tail": str(attempt / "tail"),
            "home": str(self.home),
        }
        return Spec(run=run, argv=command, **(given | fields))

    def lock(self, workspace: str) -> str:
        return str(self.home / "locks" / workspace)

    async def launch(self, run: str, *argv: str, **fields: Any) -> RunProcess:
        return await self.launcher.launch(self.spec(run, *argv, **fields))

    async def started(self, run: str, *argv: str, **fields: Any) -> RunProcess:
        """A run whose program runs."""
        process = await self.launch(run, *argv, **fields)
        message = await anext(process.events)
        assert isinstance(message, Started), message
        return process

    async def run(self, run: str, *argv: str, **fields: Any) -> End:
        """A run from its launch to its end, acknowledged."""
        process = await self.launch(run, *argv, **fields)
        end = await process.wait()
        process.ack()
        return end

    def log(self, run: str) -> str:
        return (self.folder(run) / "agent.log").read_text(errors="replace")

    async def recorded(self, run: str) -> End:
        """Wait until the record of its end is written, which is told before; the record."""
        with trio.fail_after(PATIENCE_S):
            while (end := read_record(self.folder(run))) is None:
                await trio.sleep(0.005)
        return end

    async def said(self, run: str, text: str) -> str:
        """Wait until the log holds the text; the log."""
        with trio.fail_after(PATIENCE_S):
            while text not in self.log(run):
                await trio.sleep(0.005)
        return self.log(run)


def play(folder: Path, story: Callable[[Rig], Awaitable[None]]) -> None:
    """Let a story happen in a rig; afterwards no process of it may be left."""

    async def stage() -> None:
        rig = Rig(folder)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                await rig.launcher.start()
                nursery.start_soon(rig.launcher.watch)
                try:
                    await story(rig)
                finally:
                    with trio.CancelScope(shield=True):
                        await rig.launcher.stop()
                nursery.cancel_scope.cancel()

    try:
        trio.run(stage)
        gone(folder / "home")
    finally:
        for process in alive(folder / "home"):
            process.kill()
        cgroup_root.sweep(folder / "home")


def alive(home: Path, mark: str = "") -> list[psutil.Process]:
    """Who carries a mark of this installation (or this one mark) and is no zombie."""
    wanted = {f"{name}={home}".encode() for name in ([mark] if mark else [HOME_MARK, LAUNCHER_MARK])}
    found = []
    for process in psutil.process_iter():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            if wanted.intersection(environment) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def gone(home: Path, mark: str = "") -> float:
    """Wait until no marked process is left; the seconds that took."""
    start = time.monotonic()
    while left := alive(home, mark):
        assert time.monotonic() - start < PATIENCE_S, left
        time.sleep(0.005)
    return time.monotonic() - start


def python(script: str) -> tuple[str, ...]:
    """The command of a Python script, with the fastest start there is."""
    return (sys.executable, "-I", "-S", "-c", script)


SLEEP = shutil.which("sleep") or "/bin/sleep"
