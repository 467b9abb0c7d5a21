"""The warden: a process that guards one run from its start until no process of it is left.

The warden locks the workspace, starts the agent, drains its output, keeps its deadlines, and tells the worker over one
socket. When the worker's end of that socket closes, the run is over: its processes are killed at once and the record
says so. A warden has its own session and is a subreaper: whatever its agent forks, however often, stays below it.

Standard library only, single-threaded, one poll loop; all waiting is in `GuardedRun.conduct`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from maestro.runtime.supervision import processes, spawn
from maestro.runtime.supervision.deadlines import Deadlines
from maestro.runtime.supervision.exit_record import sync_record, write_file
from maestro.runtime.supervision.output import Stream
from maestro.runtime.supervision.output_files import OutputFiles
from maestro.runtime.supervision.run_cgroup import RunCgroup
from maestro.runtime.supervision.spawn import Unstartable
from maestro.runtime.supervision.spec import ACK_WAIT_S, End, Frozen, Message, Spec, Started, Thawed, encode_message
from maestro.runtime.supervision.workspace_lock import Holder, ProcessIdentity, WorkspaceLock

_LOCK_RETRY_S = 0.01
_TICK_S = 5.0  # ended orphans of the agent are reaped at least so often


class Site(NamedTuple):
    """The surroundings of a warden: boot, own process, its worker's, and the pipe that SIGCHLD makes readable."""

    boot_id: str
    warden: ProcessIdentity
    worker: ProcessIdentity
    wake: int


class Offer(NamedTuple):
    """A run that a worker offers to a warden. worker: the socket to it; rest: what came over that after the spec."""

    spec: Spec
    worker: socket.socket
    rest: bytes


class GuardedRun:
    """One run as its warden guards it: `conduct` does all of it."""

    def __init__(self, offer: Offer, site: Site) -> None:
        self._spec = offer.spec
        self._worker = offer.worker
        self._inbox = offer.rest
        self._site = site
        self._poll = select.poll()
        self._on: dict[int, Callable[[], None]] = {}
        self._deadlines = Deadlines()
        self._lock: WorkspaceLock | None = None
        self._cgroup = RunCgroup(self._spec.cgroups or [])
        self._waiting = self._owns = False
        self._output = OutputFiles(self._spec)
        self._agent = 0
        self._since = self._until = 0.0
        self._status: int | None = None
        self._frozen: set[int] = set()
        self._over = self._gone = self._acked = False
        self._fields: dict[str, Any] = {}

    def conduct(self) -> None:
        """Lock, start, watch, end and record the run. None of its processes is alive when this returns."""
        self._watch(self._worker.fileno(), self._hear)
        self._watch(self._site.wake, self._reap)
        try:
            self._obey_inbox()
            self._turn(0)  # a worker that has withdrawn the run is heard before it starts
            if not self._over:
                self._open()
            while not self._over:
                wait_s = self._deadlines.wait_s(_LOCK_RETRY_S if self._waiting else _TICK_S)
                self._turn(int(wait_s * 1000) + 1)
                self._mind_time()
        except Unstartable as error:
            self._fields |= {"spawn_error": error.what, "errno": error.number, "retriable": error.retriable}
        except Exception as error:
            self._fields |= {"spawn_error": f"the warden failed: {error!r}", "retriable": True}
            raise
        finally:
            self._finish()

    def _turn(self, wait_ms: int) -> None:
        for fd, _ in self._poll.poll(wait_ms):
            if fd in self._on and not self._over:
                self._on[fd]()

    def _watch(self, fd: int, then: Callable[[], None]) -> None:
        self._poll.register(fd, select.POLLIN)
        self._on[fd] = then

    def _unwatch(self, fd: int) -> None:
        self._poll.unregister(fd)
        del self._on[fd]

    # ---- the start ----

    def _open(self) -> None:
        try:
            self._output.open()
            if self._spec.lock is not None:
                self._lock = WorkspaceLock(self._spec.lock, self._spec.lock_wait_s, self._spec.folder)
        except OSError as error:
            raise Unstartable.of(f"cannot open {error.filename!r}", error) from error
        self._waiting = True
        self._take_workspace()

    def _take_workspace(self) -> None:
        """Start the agent once the workspace is locked; called again and again until then."""
        if not self._deadlines.frozen and (self._lock is None or self._lock.take(self._site.boot_id)):
            self._waiting, self._owns = False, True
            self._start()

    def _start(self) -> None:
        spec = self._spec
        holder = Holder(spec.run, spec.home, self._site.boot_id, self._site.warden, self._site.worker)
        holder = holder._replace(cgroups=self._cgroup.paths)
        if self._lock is not None:
            self._lock.record(holder)
        started = self._start_in_cgroup()
        self._since = time.monotonic()
        self._deadlines.start(spec.timeout_s, spec.silent_s)
        agent = ProcessIdentity(started.pid, processes.start_time(started.pid))
        self._agent = agent.pid
        self._tell(Started(agent.pid, agent.start_time, self._site.warden.pid))
        if self._lock is not None:
            self._lock.record(holder._replace(agent=agent))
        for stream in self._output.take(started.stdout, started.stderr):
            self._watch(stream.fd, functools.partial(self._drain, stream))

    def _start_in_cgroup(self) -> spawn.Program:
        spec = self._spec
        try:
            with self._cgroup.entered():
                return spawn.start(spec.argv, spec.marked_env(), spec.cwd, spec.stdin)
        except OSError as error:
            raise Unstartable.of(f"cannot limit the run with {error.filename}", error) from error

    # ---- while it runs ----

    def _drain(self, stream: Stream) -> None:
        fd = stream.fd
        if stream.drain():
            self._deadlines.heard()
        if not stream.open:
            self._unwatch(fd)

    def _reap(self) -> None:
        """Reap the children that have ended: the agent, or orphans that it left to this process."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._site.wake, 4096)
        with contextlib.suppress(ChildProcessError):
            for pid, status in processes.reap():
                if pid == self._agent:
                    self._status, self._until = status, time.monotonic()
                    self._over = True

    def _hear(self) -> None:
        try:
            chunk = self._worker.recv(65536)
        except OSError:
            chunk = b""
        if not chunk:
            self._fields["worker_gone"] = self._gone = self._over = True
        self._inbox += chunk
        self._obey_inbox()

    def _obey_inbox(self) -> None:
        while b"\n" in self._inbox:
            line, _, self._inbox = self._inbox.partition(b"\n")
            self._obey(json.loads(line))

    def _tell(self, message: Message) -> bytes:
        text = encode_message(message)
        with contextlib.suppress(OSError):  # a worker that is gone is noticed by `_hear`
            self._worker.sendall(text)
        return text

    def _obey(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "stop":
                self._stop(command["reason"], command["force"], command["grace_s"])
            case "freeze":
                self._freeze()
            case "thaw":
                self._thaw()
            case "ack":
                self._acked = True

    def _stop(self, reason: str, force: bool, grace_s: float | None) -> None:
        self._fields.setdefault("stopped", reason)
        if force or not self._agent:
            self._over = True
        else:
            self._ask_to_end(grace_s)

    def _ask_to_end(self, grace_s: float | None) -> None:
        if not self._deadlines.stopping:
            processes.signal_children(self._spec.stop_signal, self._agent, spare_it=self._spec.wrapped)
        self._deadlines.stop(self._spec.grace_s if grace_s is None else grace_s)

    def _freeze(self) -> None:
        self._deadlines.freeze()
        stopped, complete = processes.freeze_children(self._agent) if self._agent else (set(), True)
        if self._agent and self._spec.pause:
            complete = spawn.run_to_end(self._spec.pause, self._spec.env) and complete
        self._frozen |= stopped
        self._tell(Frozen(complete, len(self._frozen)))

    def _thaw(self) -> None:
        self._deadlines.thaw()
        if self._agent and self._spec.resume:
            spawn.run_to_end(self._spec.resume, self._spec.env)
        processes.thaw_children(self._agent, self._frozen)
        self._frozen = set()
        self._tell(Thawed())

    def _mind_time(self) -> None:
        if self._over:
            return
        self._output.mend()
        if self._waiting:
            self._take_workspace()
        match self._deadlines.due():
            case "timeout":
                self._fields["timed_out"] = True
                self._ask_to_end(None)
            case "silence":
                self._fields["stalled"] = True
                self._ask_to_end(None)
            case "kill":
                self._over = True

    # ---- the end ----

    def _finish(self) -> None:
        """Kill what is left, let the workspace go, then tell and write how the run ended."""
        leftovers = self._end_tree() if self._agent else 0
        self._output.finish()
        end = self._judge(leftovers)
        self._output.close()
        self._cgroup.remove()
        if self._lock is not None:
            self._lock.release(ours=self._owns)
        told = self._tell(end)
        with contextlib.suppress(OSError):  # a full disk: the worker has been told, and nobody else can be
            write_file(self._spec.record, told)
            if not self._wait_for_ack():
                sync_record(self._spec.record)

    def _end_tree(self) -> int:
        """Kill the process tree; how many processes outlived an agent that ended by itself."""
        by_itself = self._status is not None
        before = processes.count(processes.descendants(os.getpid())) if by_itself else 0
        self._cgroup.kill()
        killed, status = processes.kill_children(self._agent)
        if self._spec.cleanup:
            spawn.run_to_end(self._spec.cleanup, self._spec.env)
        if by_itself:
            return max(before, killed)
        wrapped = self._spec.wrapped  # a sandbox may still tell of its dead agent by an exit code
        self._status, self._until = signal.SIGKILL if wrapped else status, time.monotonic()
        return 0

    def _judge(self, leftovers: int) -> End:
        strikes = self._cgroup.strikes()
        code = 0 if self._status is None else os.waitstatus_to_exitcode(self._status)
        if self._status is not None and code >= 0:  # it had ended by itself before the kill
            self._fields.pop("worker_gone", None)
        return End(
            run=self._spec.run,
            token=self._spec.token,
            exit_code=None if self._status is None or code < 0 else code,
            signal=-code if code < 0 else None,
            duration_ms=int((self._until - self._since) * 1000),
            output_bytes=self._output.output_bytes,
            stdout_bytes=self._output.stdout_bytes,
            **self._output.lacks(),
            leftovers=leftovers,
            oom=strikes.oom > 0 and code != 0,
            oom_kills=strikes.oom,
            forks_refused=strikes.pids,
            **self._fields,
        )

    def _wait_for_ack(self) -> bool:
        """Whether the worker says, within ACK_WAIT_S, that the end is in the log."""
        deadline = time.monotonic() + ACK_WAIT_S
        while not self._acked and not self._gone and (left := deadline - time.monotonic()) > 0:
            self._worker.settimeout(left)
            self._hear()
        return self._acked
