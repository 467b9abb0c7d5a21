"""The residence of a daemon: MAESTRO_HOME as the daemon found it at its start, watched for as long as it runs.

People who tidy a disk remove what looks old. A lock or a log that was removed is put back. A home that is gone, or is
another folder now, cannot be put back: then the daemon ends with all that it started, the embedded store included, as
what these write would reach nobody, and the next daemon at this path would not know of them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import trio

from maestro.config import socket_path
from maestro.model.errors import MaestroError, Refused, StoreAway
from maestro.runtime.daemon.service_notices import ServiceNotices
from maestro.runtime.daemon.start_report import StartReport
from maestro.runtime.node.clock import next_second
from maestro.runtime.node.daemon_lock import DaemonLock
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.node_daemon import NodeDaemon

STORE_END_S_MAX = 10.0
DIAL_S_MAX = 0.5
GONE = "MAESTRO_HOME was removed or replaced under its daemon, which ends with all that it started"
TAKEN = "daemon.lock was removed and another daemon has taken this home, so that this one ends"
LOG = "daemon.log"


class Residence:
    """The residence of one daemon. lock: the daemon lock of the home; report: of its start; manager: of services.

    signalled: whether it was told to end once more while it ended.
    """

    def __init__(self, home: Path, lock: DaemonLock, report: StartReport, manager: ServiceNotices) -> None:
        self.home = home
        self.lock = lock
        self.manager = manager
        self.signalled = False
        self._report = report
        self._store: int | None = None
        self._store_known: tuple[int, int] = (0, 0)

    def settled(self) -> None:
        """Say that the daemon listens, in its lock and to whoever waits for its start."""
        self.lock.say("listening")
        self._report.done()
        self.manager.tell("READY=1")

    def leaving(self) -> None:
        """Say that the daemon ends, and takes no commands any more."""
        self.lock.say("ending")
        self.manager.tell("STOPPING=1", "STATUS=ending its runs")

    @property
    def stands(self) -> bool:
        """Whether MAESTRO_HOME is still the folder that it was at the start of the daemon."""
        return self.lock.home_stands

    @property
    def may_listen(self) -> bool:
        """Whether sockets may be bound in the home: not where it may be another daemon's by now."""
        return self.stands and not self.lock.is_displaced

    def error(self, what: str = GONE) -> Refused:
        """The error with which the daemon ends."""
        return Refused(what, str(self.home), "see what removes it; the next command starts anew")

    def guarded(self, revive: Callable[[], object]) -> Callable[[], object]:
        """`revive`, which starts the embedded store again, but raising StoreAway in a home that is another one."""

        def revive_here() -> object:
            if not self.stands:
                raise StoreAway(GONE, str(self.home))
            return revive()

        return revive_here

    async def watch(self, daemon: NodeDaemon, embedded: bool) -> None:
        """Check the home every second, and have the daemon end where the home is gone or another folder.

        embedded: the store is the embedded one, which then ends with the daemon.
        """
        while True:
            why = self._look()
            if why:
                daemon.evict(self.error(why), taken=why == TAKEN)
                return
            if embedded:
                await trio.to_thread.run_sync(self._know_store)
            await next_second()

    def _look(self) -> str:
        """Why the daemon cannot stay, "" where it can."""
        if not self.stands:
            return GONE
        try:
            if not self.lock.renew():
                return TAKEN
            self._reopen_log()
        except (OSError, MaestroError) as error:
            seldom.warn("home", str(error))
        return ""

    def _reopen_log(self) -> None:
        """Make the log file again where somebody removed it: what is written into the old one reaches nobody."""
        found = os.fstat(2)
        if stat.S_ISREG(found.st_mode) and not found.st_nlink:
            fresh = os.open(self.home / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            os.dup2(fresh, 2)
            os.close(fresh)
            log.warning("daemon.log was removed: it goes on here")

    # ---- the embedded store ----

    def _know_store(self) -> None:
        """Keep a descriptor of the store's process, by which to end it where its socket is gone with the home."""
        try:
            found = (self.home / "store" / "server.pid").stat()
        except OSError:
            return
        known = (found.st_ino, found.st_mtime_ns)
        if known == self._store_known:
            return
        descriptor = _server(socket_path(self.home, "store/store.sock"))
        if descriptor is not None:
            self._forget_store()
            self._store, self._store_known = descriptor, known

    def _forget_store(self) -> None:
        if self._store is not None:
            os.close(self._store)
            self._store = None

    def end_store(self) -> None:
        """End the embedded store whose home is gone: in order, else at once; returns when it is gone."""
        if self._store is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._store, number)
            if select.select([self._store], [], [], STORE_END_S_MAX)[0]:
                break
        self._forget_store()


def _server(path: Path) -> int | None:
    """A descriptor of the process that listens there; None where none answers, or systems lack such descriptors."""
    if not (hasattr(os, "pidfd_open") and hasattr(socket, "SO_PEERCRED")):
        return None
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(DIAL_S_MAX)
        try:
            probe.connect(str(path))
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return os.pidfd_open(int.from_bytes(credentials[:4], "little"))
        except OSError:
            return None
