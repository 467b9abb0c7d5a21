"""The launcher: a single-threaded process beside each daemon, from which the wardens are forked.

The daemon's worker runs trio, whose threads come and go; a parent-death signal follows the thread, and a fork of a
large process is slow. So the worker starts the launcher, once, with two sockets: `offers`, on which the wardens
themselves wait for runs (a message is one descriptor: the run's own socket, whose first line is its spec), and
`control`, whose end of file means that the worker is gone. The launcher keeps a warden waiting at all times, reaps
those that end, and when one was killed kills what it left, then tells the worker so.

Standard library only; see `command` for how it is started.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import NoReturn

from maestro.runtime.supervision import cgroup_root, processes, run_cgroup
from maestro.runtime.supervision.spec import LAUNCHER_MARK, Spec, encode
from maestro.runtime.supervision.warden import GuardedRun, Offer, Site
from maestro.runtime.supervision.workspace_lock import ProcessIdentity

_RUNS_MAX = 500  # then a warden gives way to a fresh one
_IDLE_S = 30  # an idle warden ends after this; the launcher keeps one
_FORK_AGAIN_S = 0.1
_IGNORED = ("SIGINT", "SIGTERM", "SIGHUP")  # meant for the worker; the launcher ends when it does


def command(control: int, offers: int) -> list[str]:
    """The command line that starts a launcher on these two descriptors, without site-packages, in some 40 ms."""
    root = Path(__file__).parents[3]
    code = f"import sys; sys.path.append({str(root)!r}); from maestro.runtime.supervision.launcher import main; main()"
    return [sys.executable, "-I", "-S", "-X", "utf8", "-c", code, str(control), str(offers)]


def main() -> NoReturn:
    """Run a launcher until its worker is gone and all its wardens are."""
    for name in _IGNORED:
        signal.signal(getattr(signal, name), lambda *_: None)  # not SIG_IGN, which agents would inherit
    control, offers = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    for each in (control, offers):
        each.set_inheritable(False)
    offers.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _IDLE_S, 0))
    processes.become_subreaper()
    gc.collect()
    gc.freeze()
    Launcher(control, offers).attend()
    sys.exit(0)


class Launcher:
    """The launcher's loop over its wardens. control: tells that the worker is gone; offers: on which wardens wait."""

    def __init__(self, control: socket.socket, offers: socket.socket) -> None:
        self._control = control
        self._offers = offers
        self._worker = ProcessIdentity(os.getppid(), processes.start_time(os.getppid()))
        self._home = Path(os.environ.get(LAUNCHER_MARK, "/"))
        self._boot_id = processes.boot_id()
        self._notes_r, self._notes_w = os.pipe()
        self._notes = b""
        self._wake = wake_on_child()
        self._wardens: dict[int, str | None] = {}  # pid -> the run that it guards, None while it waits for one
        self._worker_gone = False
        os.set_blocking(self._notes_r, False)

    def attend(self) -> None:
        """Keep a warden waiting while there is a worker; then reap them until the last one has ended."""
        poll = select.poll()
        for fd in (self._control.fileno(), self._notes_r, self._wake):
            poll.register(fd, select.POLLIN)
        while not self._worker_gone or self._wardens:
            wait_s = None if self._one_waits() else _FORK_AGAIN_S
            ready = {fd for fd, _ in poll.poll(None if wait_s is None else wait_s * 1000)}
            if self._control.fileno() in ready and self._worker_ended():
                poll.unregister(self._control.fileno())
                self._worker_gone = True
                self._offers.close()
                self._dismiss()
            if self._notes_r in ready:
                self._read_notes()
            if self._wake in ready:
                self._reap()
        processes.kill_children()
        cgroup_root.release(self._home, self._worker.pid)

    def _worker_ended(self) -> bool:
        try:
            return not self._control.recv(4096)
        except ConnectionResetError:  # it was killed before it had read what it was told last
            return True

    def _one_waits(self) -> bool:
        """Whether a warden waits for a run; one is forked where none does. False: forking failed, to be tried again."""
        if self._worker_gone or None in self._wardens.values():
            return True
        try:
            pid = os.fork()
        except OSError as error:
            self._tell({"event": "no_warden", "errno": error.errno})
            return False
        if pid == 0:
            self._be_warden()
        self._wardens[pid] = None
        return True

    def _be_warden(self) -> NoReturn:
        """Guard runs, in the forked child: no exception may lead back into the launcher's loop."""
        status = 1
        try:
            os.setsid()
            launcher = os.getppid()
            self._control.close()
            os.close(self._notes_r)
            os.close(self._wake)
            processes.become_subreaper()
            me = ProcessIdentity(os.getpid(), processes.start_time(os.getpid()))
            site = Site(self._boot_id, me, self._worker, wake_on_child())
            for _ in range(_RUNS_MAX):
                if not serve(self._offers, site, self._notes_w) or os.getppid() != launcher:
                    break
            run_cgroup.vacate()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            raise
        finally:
            os._exit(status)

    def _dismiss(self) -> None:
        """End the wardens in waiting where they cannot see the end of the offers, as these are datagrams."""
        for pid in [] if processes.LINUX else [pid for pid, run in self._wardens.items() if run is None]:
            processes.send(pid, signal.SIGKILL)

    def _read_notes(self) -> None:
        """Note which wardens have taken a run, and which wait again: they say so over a pipe."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._notes_r, 65536):
                self._notes += chunk
        *lines, self._notes = self._notes.split(b"\n")
        for line in lines:
            pid, _, run = line.decode().partition(" ")
            if int(pid) in self._wardens:
                self._wardens[int(pid)] = run or None

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        self._read_notes()
        with contextlib.suppress(ChildProcessError):
            for pid, status in processes.reap():
                if pid not in self._wardens:
                    continue
                run = self._wardens.pop(pid)
                if status != 0:
                    if run is not None:
                        cgroup_root.kill(
                            self._home, self._worker.pid, pid, run
                        )  # who forks without end wins a race of signals
                    self._sweep()
                    self._tell({"event": "swept", "run": run, "warden": pid})

    def _sweep(self) -> None:
        """Kill what a dead warden left: every child of the launcher that is no warden, until there is none."""
        while orphans := [pid for pid in processes.children(os.getpid()) if pid not in self._wardens]:
            for pid in orphans:
                processes.send(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)

    def _tell(self, event: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(encode(event))


def serve(offers: socket.socket, site: Site, notes: int) -> bool:
    """Wait for one run and guard it to its end, in a warden. False when none came: the worker is gone, or idle."""
    taken = receive(offers)
    if taken is None:
        return False
    with taken.worker:
        note(notes, os.fsencode(taken.spec.run))
        GuardedRun(taken, site).conduct()
    note(notes, b"")
    return True


def note(notes: int, run: bytes) -> None:
    """Tell the launcher which run this warden guards, b"" when it waits for one."""
    with contextlib.suppress(BrokenPipeError):  # the launcher was killed; the run goes on
        os.write(notes, b"%d %s\n" % (os.getpid(), run))


def receive(offers: socket.socket) -> Offer | None:
    """The next run that no other warden has taken; None when none came for `_IDLE_S`, or the worker is gone."""
    try:
        _, fds, _, _ = socket.recv_fds(offers, 16, 1, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    except OSError:
        return None
    if not fds:
        return None
    worker = socket.socket(fileno=fds[0])
    worker.set_inheritable(False)
    text = b""
    while b"\n" not in text:
        chunk = worker.recv(65536)
        if not chunk:
            worker.close()
            return None
        text += chunk
    line, _, rest = text.partition(b"\n")
    return Offer(Spec.decode(line), worker, rest)


def wake_on_child() -> int:
    """The reading end of a new pipe that becomes readable when a child ends."""
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_r, False)
    os.set_blocking(wake_w, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    return wake_r
