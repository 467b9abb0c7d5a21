"""The warden: guards one run from its start until nothing of it is left, whatever becomes of the worker.

It holds the workspace, starts the agent, drains its output, keeps its time, and tells the worker over one socket.
When the worker's end of that socket closes, the run is over: the tree is killed at once and the record says so. A
warden has its own session and is a subreaper: whatever its agent forks, however often, stays below it.

Stdlib only, single-threaded, one poll loop; all waiting is in `Run.conduct`.
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

from maestro.runtime import processes, seed
from maestro.runtime.claim import Claim, Holder, Identity
from maestro.runtime.output import Log, Stream, Tail
from maestro.runtime.record import sync_record, write_record
from maestro.runtime.spec import (
    ACK_WAIT_S,
    HOME_MARK,
    RUN_MARK,
    TAIL_BYTES,
    End,
    Frozen,
    Message,
    Spec,
    Started,
    Thawed,
    encode_message,
)
from maestro.runtime.timing import Timing

_CLAIM_RETRY_S = 0.01
_TICK_S = 5.0  # orphans of the agent that have ended are reaped at least so often
_LAST_CHUNKS_MAX = 64  # after the tree is dead a pipe holds less; more comes from a process outside it


class Site(NamedTuple):
    """Where a warden works: the boot, its worker, and the pipe that SIGCHLD makes readable."""

    boot_id: str
    worker: Identity
    wake: int


class Offer(NamedTuple):
    """A run that a worker has given to this warden. rest: what came over the socket after the spec."""

    spec: Spec
    worker: socket.socket
    rest: bytes


class Unstartable(Exception):
    """The run cannot start, and nothing of it runs. retriable: it may well start later."""

    def __init__(self, what: str, number: int | None, retriable: bool) -> None:
        super().__init__(what)
        self.what = what
        self.number = number
        self.retriable = retriable

    @classmethod
    def of(cls, what: str, error: OSError) -> Unstartable:
        where = f"{what} {error.filename!r}" if error.filename else what
        return cls(f"{where}: {error.strerror}", error.errno, error.errno in seed.RETRIABLE)


class Run:
    """One run, once its spec is known: the agent, its output, its time, its end."""

    def __init__(self, offer: Offer, site: Site, planted: seed.Seed | None) -> None:
        """planted: the agent's process to be, None to make it when it is needed."""
        self._spec = offer.spec
        self._worker = offer.worker
        self._inbox = offer.rest
        self._site = site
        self._seed = planted
        self._poll = select.poll()
        self._on: dict[int, Callable[[], None]] = {}
        self._timing = Timing()
        self._claim: Claim | None = None
        self._claim_by: float | None = None
        self._log: Log | None = None
        self._tail = Tail(TAIL_BYTES)
        self._streams: list[Stream] = []
        self._failure = b""
        self._frozen: list[int] = []
        self._growing = False
        self._running_since: float | None = None
        self._ended_at = 0.0
        self._status: int | None = None
        self._over = self._acked = False
        self._fields: dict[str, Any] = {}

    def conduct(self) -> None:
        """From the spec to the record. Everything of the run is dead when this returns."""
        self._watch(self._worker.fileno(), self._hear)
        self._watch(self._site.wake, self._reap)
        try:
            self._obey_inbox()
            self._turn(0)  # a worker that has withdrawn the run is heard before it starts
            if not self._over:
                self._open()
            while not self._over:
                wait_s = self._timing.wait_s(_TICK_S if self._claim_by is None else _CLAIM_RETRY_S)
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
            self._log = Log(self._spec.log, self._spec.log_bytes_max)
            if self._spec.lock is not None:
                self._claim = Claim(self._spec.lock)
                self._claim_by = time.monotonic() + self._spec.lock_wait_s
        except OSError as error:
            raise Unstartable.of("cannot open", error) from error
        self._take_workspace()

    def _take_workspace(self) -> None:
        """Start the agent once the workspace is ours; called again and again until then."""
        if self._claim is None or self._claim.take(self._site.boot_id):
            self._claim_by = None
            self._launch()
        elif self._claim_by is not None and time.monotonic() > self._claim_by:
            holder = self._claim.holder()
            self._claim.release(clean=False)
            self._claim = None
            whose = f" with run {holder.run}" if holder else ""
            raise Unstartable(f"the workspace is busy{whose}", None, retriable=True)

    def _launch(self) -> None:
        spec = self._spec
        try:
            planted = self._seed = self._seed or seed.plant()
            if self._claim is not None:
                me = Identity(os.getpid(), processes.start_time(os.getpid()))
                agent = Identity(planted.pid, planted.start_time)
                self._claim.record(Holder(spec.run, spec.home, self._site.boot_id, agent, me, self._site.worker))
        except OSError as error:
            raise Unstartable.of("cannot start a process", error) from error
        assert self._log is not None
        tail = self._tail if spec.tail is not None else None
        self._streams = [
            Stream(planted.take(planted.stdout), self._log, spec.redact, tail, spec.trace),
            Stream(planted.take(planted.stderr), self._log, spec.redact),
        ]
        for stream in self._streams:
            self._watch(stream.fd, functools.partial(self._drain, stream))
        self._watch(planted.failure, self._hear_seed)
        self._growing = True
        env = {**spec.env, RUN_MARK: spec.run, HOME_MARK: spec.home}
        seed.grow(planted, spec.argv, env, spec.cwd, spec.stdin)

    def _hear_seed(self) -> None:
        """The seed says why it did not start, or closes the pipe: it has become the program."""
        assert self._seed is not None
        chunk = os.read(self._seed.failure, 4096)
        self._failure += chunk
        if chunk:
            return
        self._unwatch(self._seed.failure)
        self._growing = False
        if self._failure:
            what, number = seed.why(self._failure)
            raise Unstartable(what, number, number in seed.RETRIABLE)
        self._running_since = time.monotonic()
        self._over = self._over or self._status is not None
        self._timing.start(self._spec.timeout_s, self._spec.fence_s)
        self._tell(Started(self._seed.pid, self._seed.start_time, os.getpid()))

    # ---- while it runs ----

    def _drain(self, stream: Stream) -> None:
        fd = stream.fd
        stream.drain()
        if not stream.open:
            self._unwatch(fd)

    def _reap(self) -> None:
        """Some child has ended: the agent, or an orphan that it left to us."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._site.wake, 4096)
        with contextlib.suppress(ChildProcessError):
            for pid, status in processes.reap():
                if self._seed is not None and pid == self._seed.pid:
                    self._status = status
                    self._ended_at = time.monotonic()
                    self._over = not self._growing  # else the seed has yet to be heard

    def _hear(self) -> None:
        try:
            chunk = self._worker.recv(65536)
        except OSError:
            chunk = b""
        if not chunk:
            self._fields["worker_gone"] = True
            self._over = True
        self._inbox += chunk
        self._obey_inbox()

    def _obey_inbox(self) -> None:
        while b"\n" in self._inbox:
            line, _, self._inbox = self._inbox.partition(b"\n")
            self._obey(json.loads(line))

    def _tell(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # a worker that is gone is noticed by `_hear`
            self._worker.sendall(encode_message(message))

    def _obey(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "stop":
                self._stop(command["reason"], command["force"], command["grace_s"])
            case "freeze":
                self._freeze()
            case "thaw":
                self._thaw()
            case "ping":
                self._timing.ping()
            case "ack":
                self._acked = True

    def _stop(self, reason: str, force: bool, grace_s: float | None) -> None:
        self._fields.setdefault("stopped", reason)
        if force or self._running_since is None:
            self._over = True
            return
        if not self._timing.stopping:
            self._signal_tree(self._spec.stop_signal)
        self._timing.stop(self._spec.grace_s if grace_s is None else grace_s)

    def _signal_tree(self, number: int) -> None:
        """To each process once, never to a group and its members too: many agents take a second signal for `now`."""
        assert self._seed is not None
        if not processes.LINUX:
            os.killpg(self._seed.pid, number)
            return
        tree = processes.descendants(os.getpid())
        for pid in tree:
            processes.send(pid, number)
        for pid in tree:  # who stands still hears nothing
            processes.send(pid, signal.SIGCONT)

    def _freeze(self) -> None:
        self._timing.freeze()
        stopped, complete = processes.freeze_children()
        self._frozen += stopped
        self._tell(Frozen(complete, len(self._frozen)))

    def _thaw(self) -> None:
        self._timing.thaw()
        for pid in set(processes.descendants(os.getpid())).intersection(self._frozen):
            processes.send(pid, signal.SIGCONT)
        self._frozen = []
        self._tell(Thawed())

    def _mind_time(self) -> None:
        if self._over:
            return
        if self._claim_by is not None:
            self._take_workspace()
        match self._timing.due():
            case "timeout":
                self._fields["timed_out"] = True
                self._signal_tree(self._spec.stop_signal)
                self._timing.stop(self._spec.grace_s)
            case "fence":
                self._fields.setdefault("stopped", "fenced")
                self._over = True
            case "kill":
                self._over = True

    # ---- the end ----

    def _finish(self) -> None:
        """Kill what is left, let the workspace go, then say and write how it ended."""
        leftovers = self._end_tree()
        for stream in self._streams:
            chunks = 0
            while stream.open and stream.drain() and chunks < _LAST_CHUNKS_MAX:
                chunks += 1
            stream.close()
        end = self._judge(leftovers)
        if self._log is not None:
            self._log.close()
        if self._spec.tail is not None and (tail := self._tail.value()):
            with contextlib.suppress(OSError):  # a full disk costs the tail, not the end
                _write(self._spec.tail, tail)
        if self._claim is not None:
            self._claim.release(clean=True)
        self._tell(end)
        self._write_down(end)

    def _end_tree(self) -> int:
        """Returns how many processes outlived an agent that ended by itself."""
        if self._seed is None:
            return 0
        self._seed.close()
        by_itself = self._status is not None
        killed, status = processes.kill_children(self._seed.pid)
        if by_itself:
            return killed
        self._status, self._ended_at = status, time.monotonic()
        return 0

    def _judge(self, leftovers: int) -> End:
        ran = self._running_since is not None and self._status is not None
        code = os.waitstatus_to_exitcode(self._status) if ran and self._status is not None else None
        return End(
            run=self._spec.run,
            token=self._spec.token,
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            duration_ms=int((self._ended_at - self._running_since) * 1000) if self._running_since is not None else 0,
            output_bytes=sum(stream.bytes for stream in self._streams),
            truncated=self._log is not None and self._log.truncated,
            leftovers=leftovers,
            **self._fields,
        )

    def _write_down(self, end: End) -> None:
        with contextlib.suppress(OSError):  # a full disk: the worker has been told, and nobody else can be
            write_record(self._spec.record, end)
            if end.worker_gone or not self._wait_for_ack():
                sync_record(self._spec.record)

    def _wait_for_ack(self) -> bool:
        """Whether the worker says in time that the end is in the log."""
        deadline = time.monotonic() + ACK_WAIT_S
        with contextlib.suppress(OSError):
            while not self._acked and (left := deadline - time.monotonic()) > 0:
                self._worker.settimeout(left)
                self._hear()
                if self._fields.get("worker_gone"):
                    break
        return self._acked


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while content:
            content = content[os.write(fd, content) :]
    finally:
        os.close(fd)
