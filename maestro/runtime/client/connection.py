"""A connection between a command and the server that executes it: opened, greeted, closed.

The server listens on a socket of this user, or is a thread of this process at the other end of a socketpair.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from maestro import __version__
from maestro.config import Settings
from maestro.model.errors import MaestroError, Refused, StoreAway
from maestro.runtime.protocol import frames, messages as p

ANSWER_S_MAX = 10.0
"""How long a daemon may take to greet; one that is stopped or stuck is not waited for longer."""

speaks_as = "cli"
"""What events name as the actor, before the user: the command line, or the program that uses this client."""

server_frames = msgspec.msgpack.Decoder(p.ServerFrame)


class Connection:
    """A greeted connection. server: the server thread of this process, if that answers; else None."""

    def __init__(self, sock: socket.socket, bodies: Iterator[bytes], welcome: p.Welcome) -> None:
        self.sock = sock
        self.bodies = bodies
        self.welcome = welcome
        self.server: ServerThread | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.sock.close()
        if self.server is not None:
            self.server.join()


class ServerThread:
    """The server in a thread of this process, for one command."""

    def __init__(self, settings: Settings) -> None:
        self.ours, self._theirs = socket.socketpair()
        self._settings = settings
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._serve, name="maestro-server", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            from maestro.runtime.daemon import inprocess

            inprocess.serve(self._settings, self._theirs)
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits for the answer
            self.error = error
        finally:
            self._theirs.close()

    def join(self) -> None:
        """Wait until the server has closed its store."""
        self._thread.join(ANSWER_S_MAX)


def serve_here(settings: Settings) -> Connection | p.Failed:
    """A greeted connection to a server in this process. Raises the server's error, if it does not answer."""
    server = ServerThread(settings)
    greeted = greet(server.ours)
    if isinstance(greeted, Connection):
        greeted.server = server
        return greeted
    server.join()
    if isinstance(greeted, p.Failed):
        return greeted
    raise server.error or MaestroError("the server inside this command did not answer")


def dial(path: str) -> socket.socket | None:
    """Connect to a socket that this user owns; None when nobody listens. Raises Refused for another user's socket."""
    try:
        if os.lstat(path).st_uid != os.geteuid():
            raise Refused("the daemon's socket belongs to another user", path, "set MAESTRO_HOME to a folder of yours")
    except (FileNotFoundError, NotADirectoryError):
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(ANSWER_S_MAX)
    deadline = time.monotonic() + ANSWER_S_MAX
    while True:
        try:
            sock.connect(path)
            return sock
        except (ConnectionRefusedError, FileNotFoundError):
            sock.close()
            return None
        except BlockingIOError:  # the socket's backlog is full: many commands at once
            if time.monotonic() > deadline:
                sock.close()
                raise _silent(path) from None
            time.sleep(0.02)


def greet(sock: socket.socket | None, build: str = __version__) -> Connection | p.Skew | p.Failed | None:
    """Shake hands on a socket. None where there is no socket, or the server has just closed it. build: to pass for."""
    if sock is None:
        return None
    kept = False
    try:
        frames.send(sock, p.Hello(p.PROTOCOL, build, "", _caller()))
        bodies = frames.bodies(sock, lambda: kept)
        first = next(bodies, None)
        answer = None if first is None else server_frames.decode(first)
        if isinstance(answer, p.Welcome):
            sock.settimeout(None)
            kept = True
            return Connection(sock, bodies, answer)
        return answer if isinstance(answer, (p.Skew, p.Failed)) else None
    except frames.Silence:
        raise _silent("") from None
    except (ConnectionResetError, BrokenPipeError):
        return None
    finally:
        if not kept:
            sock.close()


def _silent(path: str) -> MaestroError:
    return StoreAway("the daemon of this node does not answer", path, "see its log; end it, and run `maestro up`")


def _caller() -> p.Caller:
    wanted = {"PATH", "HOME", "LANG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"}
    env = {
        name: value
        for name, value in os.environ.items()
        if (name in wanted or name.startswith("MAESTRO_")) and _is_text(name + value)
    }
    try:
        cwd = str(Path.cwd())
    except OSError:  # the working folder was deleted; absolute paths still work
        cwd = "/"
    env.pop("MAESTRO_RUN_TOKEN", None)  # the socket says which run it is
    env.pop("MAESTRO_WEBHOOK_SECRETS", None)  # a monitor needs them, no daemon
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return p.Caller(f"{speaks_as}:{_user()}", cwd if _is_text(cwd) else "/", env, is_terminal)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
