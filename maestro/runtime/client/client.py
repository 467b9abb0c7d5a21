"""The client's side of the protocol: finds a server for a command, sends the command, passes on the answer.

The server is this node's daemon where it runs; it is started for the commands that need a node. Without a daemon, all
other commands run in this process: lists and the status of a task by plain calls (`daemon/plain_server.py`, without
server and socket), the rest by the same server code in a thread, connected by a socketpair. A process inside a run uses
the run's own socket, which its environment names; one that has dropped that environment uses the daemon's. On both it
may use `maestro state` only, and what its agent's type delegates.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from maestro.config import Settings, open_home, socket_path
from maestro.model.errors import MaestroError, Refused, StoreAway, Unknown
from maestro.runtime.client.connection import ANSWER_S_MAX, Connection, dial, greet, serve_here, server_frames
from maestro.runtime.client.interrupts import Interrupts
from maestro.runtime.client.other_build import OtherBuild, Show
from maestro.runtime.protocol import frames, messages as p
from maestro.runtime.supervision import processes

AGAIN_POLL_S = 0.05
WAKE_S = 0.5
"""So often the wait for an answer is broken off and begun anew: a Ctrl-C that comes just before the wait begins would
not end it, and be heard with the next answer only.
"""
END_S_MAX = 60.0
LISTEN_S_MAX = 4.0
"""How long a daemon whose socket file was removed may take to listen again."""
STARTS_MAX = 2
SEE_LOG = "see its log, daemon.log in MAESTRO_HOME"
RUN_MARKS = {"MAESTRO_RUN_ID", "MAESTRO_LAUNCHER_HOME"}
ONE_SERVER: tuple[type[p.Command], ...] = (*p.NEEDS_NODE, p.Shutdown, p.RedisFlush)
"""Commands that wait for a daemon of another build to end, rather than run next to it."""


class NoDaemon(Refused):
    """No daemon runs on this node, and none is to be started."""


def execute(command: p.Command, settings: Settings, show: Show, here: bool = True) -> p.Done | p.Failed:
    """Execute a command; `show` gets all messages before the end, in order.

    here: without a daemon a command that needs none is carried out in this process, which starts the embedded store.
    Ctrl-C stops the command, not its task; a second one gives up at once (KeyboardInterrupt). Raises Refused where no
    server may be used, Invalid for a command that cannot be sent, StoreAway where the server ends before its answer.
    """
    while True:
        message = frames.frame(command)
        connected = connect(command, settings, show, here)
        if isinstance(connected, (p.Done, p.Failed)):
            return connected
        with connected as connection:
            for notice in connection.welcome.notices:
                show(p.Note(notice, "warn"))
            server = (
                _Process(connection.sock) if isinstance(command, p.Shutdown) and connection.server is None else None
            )
            try:
                end = _converse(connection, command, message, show)
            except StoreAway:
                if server is None:
                    raise
                server.wait()  # the daemon ended by itself, as its log is broken: shut down the rest without it
                continue
        if not isinstance(end, p.Again):
            break
        command = end.command
        await_next(settings)
    if server is not None and isinstance(end, p.Done):
        server.wait()
    return end


def await_next(settings: Settings) -> None:
    """Wait until the restarting daemon listens again. If it does not, `connect` starts another one."""
    deadline = time.monotonic() + ANSWER_S_MAX
    while time.monotonic() < deadline:
        sock = dial(str(socket_path(settings.home, "daemon.sock")))
        if sock is not None:
            sock.close()
            return
        time.sleep(AGAIN_POLL_S)


def ask_daemon(command: p.Command, settings: Settings) -> list[p.Item] | None:
    """The rows of a command's answer, if a daemon of this build runs here; None without one. For completion."""
    rows: list[p.Item] = []
    end = ask_running(command, settings, lambda row: rows.append(row) if isinstance(row, p.Item) else None)
    return None if end is None else rows


def ask_daemon_once(command: p.Command, settings: Settings) -> Any:
    """As `ask_daemon`, of an answer that is one object: that; None also where the command failed."""
    end = ask_running(command, settings, lambda _: None)
    return end.data if isinstance(end, p.Done) else None


def ask_running(command: p.Command, settings: Settings, show: Show) -> p.Done | p.Failed | p.Again | None:
    """As `execute`, if a daemon of this build runs here; None without one: it is not started, nor waited for."""
    greeted = greet(dial(str(socket_path(settings.home, "daemon.sock"))))
    if not isinstance(greeted, Connection):
        return None
    with greeted as connection:
        return _converse(connection, command, frames.frame(command), show)


def ask_of_run(command: p.RunAsk) -> p.Done | p.Failed | p.Again:
    """Have the daemon ask a question of the run that this process belongs to, and wait for its answer, in any thread.

    Raises as `execute`; StoreAway also where the run's socket is gone.
    """
    connected = _connect_run(os.environ.get("MAESTRO_RUN_SOCKET", ""), command)
    if isinstance(connected, p.Failed):
        return connected
    with connected as connection:
        connection.sock.sendall(frames.frame(command))
        connection.sock.settimeout(None)
        for body in connection.bodies:
            answer = server_frames.decode(body)
            if isinstance(answer, (p.Done, p.Failed, p.Again)):
                return answer
    raise StoreAway("the daemon of this node ended before it answered", mend="ask again")


class _Process:
    """The process at the other end of a socket, held by a pidfd, as a pid may be reused."""

    def __init__(self, sock: socket.socket) -> None:
        self._descriptor: int | None = None
        if sys.platform == "linux":
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            with suppress(OSError):
                self._descriptor = os.pidfd_open(int.from_bytes(credentials[:4], sys.byteorder))

    def wait(self) -> None:
        """Wait until the process has ended, at most END_S_MAX: after `shutdown` no daemon and no store are left."""
        if self._descriptor is not None:
            select.select([self._descriptor], [], [], END_S_MAX)
            os.close(self._descriptor)


def _converse(connection: Connection, command: p.Command, message: bytes, show: Show) -> p.Done | p.Failed | p.Again:
    with Interrupts(connection.sock) as interrupts:
        with suppress(ConnectionResetError, BrokenPipeError):  # the server may have sent the reason before it closed
            connection.sock.sendall(message)
        connection.sock.settimeout(WAKE_S)
        interrupts.sent = True
        with suppress(ConnectionResetError):
            for body in connection.bodies:
                answer = server_frames.decode(body)
                if isinstance(answer, (p.Done, p.Failed, p.Again)):
                    return answer
                if isinstance(answer, (p.Note, p.Item, p.Output)):
                    show(answer)
        if interrupts.count:
            return p.Failed("interrupted", 130, "interrupted")
    raise ended_early(connection, command)


def ended_early(connection: Connection, command: p.Command) -> Exception:
    """The error for a server that has closed the connection before it answered."""
    if connection.server is not None:
        connection.server.join()
        return connection.server.error or MaestroError("the command ended without an answer")
    from maestro.runtime.protocol.repetition import AGAIN, how_to_repeat

    advice = how_to_repeat(command)
    kind = StoreAway if advice == AGAIN else Unknown  # what only reads, or waits, has done nothing
    return kind("the daemon of this node ended before it answered", mend=f"see its log, daemon.log; {advice}")


def connect(command: p.Command, settings: Settings, show: Show, here: bool) -> Connection | p.Done | p.Failed:
    """A greeted connection on which the command may be sent; or its answer, where that was found without one.

    Waits for a daemon that starts or changes its build. show, here and what is raised: as for `execute`.
    """
    inside = os.environ.get("MAESTRO_RUN_SOCKET")
    if inside:
        return _connect_run(inside, command)
    path = str(socket_path(settings.home, "daemon.sock"))
    if _is_inside_run():  # this process is inside a run, but has dropped the environment variables of the run
        return _connect_run(path, command)
    other_build = OtherBuild(settings, show)
    starts = 0
    began_at = time.monotonic()
    while True:
        greeted = _greeted(path, settings, command)
        if isinstance(greeted, Connection) and (other := _other(greeted.welcome, settings)):
            greeted.sock.close()
            if not here or isinstance(command, (*p.NEEDS_NODE, p.Shutdown)):
                raise Refused(other, mend="give each its own MAESTRO_HOME")
            return _serve_here(command, settings, show)
        if isinstance(greeted, (Connection, p.Failed)):
            return greeted
        if isinstance(greeted, p.Skew) and isinstance(command, ONE_SERVER):
            began_at = time.monotonic()
            other_build.wait_out(greeted)
        elif greeted is None and isinstance(command, ONE_SERVER) and _is_to_come(command, path, other_build, began_at):
            other_build.was_away = True
            time.sleep(AGAIN_POLL_S)
        elif greeted is None and (isinstance(command, p.NEEDS_NODE) or not here):
            if starts == STARTS_MAX:
                raise StoreAway("the daemon of this node ends as soon as it is asked", path, SEE_LOG)
            starts += 1
            _start_daemon(command, settings, show)
        else:
            return _serve_here(command, settings, show)


def _greeted(path: str, settings: Settings, command: p.Command) -> Connection | p.Skew | p.Failed | None:
    """Connect and greet, as `greet`; the error for a daemon that does not answer names its process.

    For `doctor` such a daemon is as none: that names it too, and finds what else is wrong.
    """
    try:
        return greet(dial(path))
    except StoreAway:
        if isinstance(command, p.Doctor) and not command.accept_loss:
            return None
        from maestro.runtime.node import daemon_lock

        holder = daemon_lock.holder(settings.home)
        if holder is None or not holder.pid:
            raise
        what = f"the daemon of this node ({holder.name}) does not answer"
        raise StoreAway(what, path, f"it may be stopped: {holder.remedy}") from None


def _is_to_come(command: p.Command, path: str, other_build: OtherBuild, began_at: float) -> bool:
    """Whether a daemon lives though nobody listens on its socket, and is to be waited for, according to its lock.

    A daemon whose socket file was removed listens again by itself, and one of another build when it has started anew.
    Commands that start a daemon wait for any other starting or ending one in `daemon_start`. Raises StoreAway when the
    daemon takes too long.
    """
    from maestro.runtime.node import daemon_lock

    holder = daemon_lock.holder(other_build.settings.home)
    known = other_build.skew is not None or not isinstance(command, p.NEEDS_NODE)
    if holder is None or not (known or holder.state == "listening"):
        return False
    if time.monotonic() - began_at > (LISTEN_S_MAX if holder.state == "listening" else END_S_MAX):
        doing = f"is {holder.state}" if holder.state in ("starting", "ending") else "does not listen at its socket"
        raise StoreAway(f"the daemon of this node ({holder.name}) lives, but {doing}", path, holder.remedy)
    return True


def _other(welcome: p.Welcome, settings: Settings) -> str:
    """Why this daemon does not fit these settings: it serves another namespace or store; "" if it fits."""
    if welcome.namespace not in ("", settings.namespace):
        return f"the daemon of this node serves the namespace {welcome.namespace!r}, not {settings.namespace!r}"
    if welcome.namespace and welcome.store != (settings.redis_url or ""):
        return "the daemon of this node serves another store than this MAESTRO_REDIS_URL"
    return ""


def _serve_here(command: p.Command, settings: Settings, show: Show) -> Connection | p.Done | p.Failed:
    """Have a command carried out in this process: answered at once where it only reads, else by a server there."""
    from maestro.runtime.daemon import plain_server

    return plain_server.answer(command, settings, show) or serve_here(settings)


def _connect_run(path: str, command: p.Command) -> Connection | p.Failed:
    if not isinstance(command, (*p.INSIDE_RUN, *p.DELEGATING)):
        what = "a process inside a run may use `maestro state set|get|list|delete` only"
        raise Refused(what, mend="run this outside of the agent")
    greeted = greet(dial(path))
    if isinstance(greeted, p.Skew) and greeted.protocol == p.PROTOCOL:
        greeted = greet(dial(path), greeted.build)  # what a run may ask for is the same in all builds of a protocol
    if isinstance(greeted, (Connection, p.Failed)):
        return greeted
    raise StoreAway("the socket of this run does not answer", path, "the run may have ended, or its daemon is away")


def is_inside_run() -> bool:
    """Whether this process is inside a run, by its environment or by its ancestors."""
    return bool(os.environ.get("MAESTRO_RUN_SOCKET")) or _is_inside_run()


def _is_inside_run() -> bool:
    """Whether an ancestor of this process belongs to a run, or is the launcher or warden of one.

    Where the system does not tell, only the environment does.
    """
    pid = os.getppid()
    while pid > 1:
        if RUN_MARKS & processes.marks(pid).keys():
            return True
        pid = processes.parent(pid)
    return False


def _start_daemon(command: p.Command, settings: Settings, show: Show) -> None:
    if not settings.autostart and not isinstance(command, p.Up):
        raise NoDaemon("no daemon runs on this node, and MAESTRO_AUTOSTART is off", mend="start it with `maestro up`")
    from maestro.runtime.client import daemon_start

    home = open_home(settings)
    pid = daemon_start.start_daemon(settings)
    show(p.Note(f"started the daemon of this node (pid {pid}, log {home / 'daemon.log'})"))
