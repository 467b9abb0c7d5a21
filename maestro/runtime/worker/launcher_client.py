"""The daemon's client of its launcher process: gives runs to wardens, and replaces a launcher that dies.

The runs of a dead launcher go on, for each has its own warden and socket. What such a warden leaves when it is killed
in turn becomes a child of this process, which is a subreaper, and is killed here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import trio

from maestro.runtime.supervision import cgroup_root, launcher, processes, run_cgroup
from maestro.runtime.supervision.spec import HOME_MARK, LAUNCHER_MARK, End, Limits, Spec
from maestro.runtime.worker.run_process import RunProcess

__all__ = ["LauncherClient", "RunProcess"]

_SWEPT_WAIT_S = 2.0
_RESTART_PAUSE_S = 0.1
_ADOPTED_EVERY_S = 0.2
_STOP_WAIT_S = 5.0
_WITHDRAW_S = 1.0
_OFFERS = socket.SOCK_SEQPACKET if processes.LINUX else socket.SOCK_DGRAM
_INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class LauncherClient:
    """The client of one daemon's launcher process. `watch` must run for as long as there are runs."""

    def __init__(self, home: Path) -> None:
        self._home = str(home)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: trio.socket.SocketType | None = None
        self._offers: socket.socket | None = None
        self._runs: dict[RunProcess, trio.Event] = {}
        self._wardens: set[int] = set()
        self._adopted: set[int] = set()
        self._stopping = False
        self._places: list[cgroup_root.Place] = []

    @property
    def pid(self) -> int:
        """The pid of the launcher process, an ancestor of all runs until it dies; 0 before the start."""
        return 0 if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the launcher process; runs may be launched from now on. Raises OSError."""
        processes.become_subreaper()
        self._places = cgroup_root.prepare(Path(self._home))
        self._spawn()

    async def watch(self) -> None:
        """Hear the launcher, replace it when it dies, kill what dead ones left; until `stop`."""
        async with trio.open_nursery() as nursery:
            while not self._stopping:
                await self._hear()
                if self._stopping:
                    break
                self._adopt()
                self._spawn()
                for swept in self._runs.values():
                    swept.set()
                nursery.start_soon(self._mind_adopted)
                await trio.sleep(_RESTART_PAUSE_S)
            nursery.cancel_scope.cancel()

    async def launch(self, spec: Spec) -> RunProcess:
        """Give a run to a warden. The caller reads its messages to the `End`, then calls `ack` or `close`."""
        ours, theirs = socket.socketpair()
        limits = Limits(**(spec.limits or {}))
        spec = spec._replace(cgroups=cgroup_root.plan(self._places, spec.run, limits))
        with theirs:
            run = RunProcess(spec, trio.socket.from_stdlib_socket(ours), self.swept, self.forget)
            self._runs[run] = trio.Event()
            if missing := limits.asked() - cgroup_root.covered(self._places):
                why = f"nothing here can hold its limits ({', '.join(sorted(missing))}): {cgroup_root.REMEDY}"
                run.withdraw(End(spec.run, spec.token, spawn_error=why))
                return run
            try:
                text = spec.encode()
                sent = ours.send(text)  # most specs fit into the socket; a warden reads the rest
                await self._offer(theirs)
                while sent < len(text):
                    await trio.lowlevel.wait_writable(ours)
                    sent += ours.send(text[sent:])
            except BrokenPipeError:
                return run  # the warden was killed meanwhile: its messages end without an end
            except BaseException:
                run.close()
                raise
        return run

    async def stop(self) -> None:
        """End the launcher and kill the runs that are still on; returns when they are gone, or after 5 s."""
        self._stopping = True
        for run in list(self._runs):
            run.close()
        self._hang_up()
        if self._process is not None:
            with trio.move_on_after(_STOP_WAIT_S):
                while self._process.poll() is None:
                    await trio.sleep(0.002)
        cgroup_root.give_back(self._places)

    def forget(self, run: RunProcess) -> None:
        """Take a run that has ended, or was given up, out of the runs of this client."""
        self._runs.pop(run, None)
        if run.started is not None:
            self._wardens.add(run.started.warden)

    async def swept(self, run: RunProcess) -> bool:
        """Wait until no process of a run whose warden was killed is alive. False where no warden had taken the run."""
        was_killed = True
        if run in self._runs:
            with trio.move_on_after(_SWEPT_WAIT_S) as waiting:
                await self._runs[run].wait()
            was_killed = run.started is not None or not waiting.cancelled_caught
        for path in _groups(run) if was_killed else []:
            run_cgroup.kill(path)  # first: who forks without end wins a race of signals
        while self._end_orphans():
            await trio.sleep(0.002)
        if was_killed:
            await self._clear(run)
        return was_killed

    async def _clear(self, run: RunProcess) -> None:
        """Kill what is in the control groups of a killed warden's run, and remove them."""
        with trio.move_on_after(_STOP_WAIT_S):
            for path in _groups(run):
                while not run_cgroup.clear(path):
                    await trio.sleep(0.002)

    # ---- the process ----

    def _spawn(self) -> None:
        self._hang_up()
        control, control_theirs = socket.socketpair()
        offers, offers_theirs = socket.socketpair(type=_OFFERS)
        with control_theirs, offers_theirs:
            fds = (control_theirs.fileno(), offers_theirs.fileno())
            self._process = subprocess.Popen(
                launcher.command(*fds),
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={LAUNCHER_MARK: self._home} | {name: os.environ[name] for name in _INHERITED if name in os.environ},
                cwd="/",
                start_new_session=True,
            )
        self._control = trio.socket.from_stdlib_socket(control)
        self._offers = offers
        offers.setblocking(False)

    def _hang_up(self) -> None:
        if self._control is not None and self._offers is not None:
            self._control.close()
            trio.lowlevel.notify_closing(self._offers)
            self._offers.close()

    async def _offer(self, run: socket.socket) -> None:
        """Offer a run to the wardens; again to those of the next launcher where this one has just died."""
        while True:
            assert self._offers is not None
            try:
                socket.send_fds(self._offers, [b"."], [run.fileno()])
                return
            except BlockingIOError:
                with contextlib.suppress(trio.ClosedResourceError):
                    await trio.lowlevel.wait_writable(self._offers)
            except OSError:
                if self._stopping:
                    raise
                await trio.sleep(_RESTART_PAUSE_S)

    async def _hear(self) -> None:
        """Return when the launcher is dead, and reaped."""
        assert self._control is not None and self._process is not None
        inbox = b""
        with contextlib.suppress(OSError, trio.ClosedResourceError):
            while chunk := await self._control.recv(65536):
                *lines, inbox = (inbox + chunk).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
        if not self._stopping:
            self._process.kill()
            await trio.to_thread.run_sync(self._process.wait)

    def _obey(self, event: dict[str, Any]) -> None:
        if event["event"] == "swept":
            for run, swept in self._runs.items():
                if run.spec.run == event["run"] or (event["run"] is None and run.started is None):
                    swept.set()
        elif event["event"] == "no_warden":
            for run in self._runs:
                if run.started is None and trio.current_time() - run.launched_at > _WITHDRAW_S:
                    why = f"no process can be started: {os.strerror(event['errno'])}"
                    run.withdraw(
                        End(run.spec.run, run.spec.token, spawn_error=why, errno=event["errno"], retriable=True)
                    )

    # ---- what dead launchers left ----

    def _adopt(self) -> None:
        """Note which wardens this process must reap, before those in waiting see the end of the offers and end, too."""
        self._adopted |= self._wardens | {run.started.warden for run in self._runs if run.started is not None}
        self._wardens = set()
        self._end_orphans()

    async def _mind_adopted(self) -> None:
        """Reap the wardens that became children of this process when their launcher died, and kill what they left."""
        while True:
            self._end_orphans()
            self._adopted = {pid for pid in self._adopted if not _reaped(pid)}
            if not self._adopted:
                return
            await trio.sleep(_ADOPTED_EVERY_S)

    def _end_orphans(self) -> int:
        """Kill the children of this process that belong to runs, as a dead warden left them; how many there were."""
        orphans = 0
        for pid in processes.children(os.getpid()):
            marks = processes.marks(pid)
            if marks.get(HOME_MARK) == self._home:
                processes.send(pid, signal.SIGKILL)
                self._adopted.add(pid)
                orphans += 1
            elif marks.get(LAUNCHER_MARK) == self._home and pid != self.pid:
                self._adopted.add(pid)
        self._adopted = {pid for pid in self._adopted if not _reaped(pid)}
        return orphans


def _groups(run: RunProcess) -> list[str]:
    """The paths of the control groups of a run, those of its warden's included."""
    warden = run.started.warden if run.started is not None else 0
    return [group.of(warden).path for group in run.spec.cgroups or []]


def _reaped(pid: int) -> bool:
    """Whether a child of this process is gone; one that has ended is reaped."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
