"""The process of an agent before it runs its program: forked ahead of time, waiting to be told what to become.

A fork costs about as much as running `/bin/true`; a warden without a run makes its seed while nobody waits. The seed
has its own session, its pipes and its parent-death signal, knows nothing of any run yet, and ends with its warden.
Stdlib only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
from typing import Any, NoReturn

from maestro.runtime import processes

_PIPE_BYTES = 256 * 1024
_RESET = ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD", "SIGPIPE", "SIGXFSZ")

RETRIABLE = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)
"""Failures to start a program that are no fault of the program: later it may well start."""


class Seed:
    """pid: of the process. go: write the program here. failure: says why it did not start; closed when it did."""

    def __init__(self, pid: int, go: int, failure: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.start_time = processes.start_time(pid)
        self.go = go
        self.failure = failure
        self.stdout = stdout
        self.stderr = stderr
        self._ours = {go, failure, stdout, stderr}

    def take(self, fd: int) -> int:
        """From now on the caller closes this descriptor."""
        self._ours.discard(fd)
        return fd

    def waits(self) -> bool:
        """Whether it is still there; reaps it if not."""
        return os.waitpid(self.pid, os.WNOHANG)[0] == 0

    def close(self) -> None:
        """Close what nobody took. A seed that has not grown ends by that."""
        while self._ours:
            os.close(self._ours.pop())


def plant() -> Seed:
    """Fork a seed. Raises OSError where there is no process or descriptor left for it; nothing leaks then."""
    fds: list[int] = []
    try:
        for _ in range(4):
            fds += os.pipe()
        parent = os.getpid()
        pid = os.fork()
    except OSError:
        for fd in fds:
            os.close(fd)
        raise
    go_r, go_w, failure_r, failure_w, out_r, out_w, err_r, err_w = fds
    if pid == 0:
        os.close(go_w)
        _wait_and_become(parent, go_r, failure_w, (out_w, err_w))
    for fd in (go_r, failure_w, out_w, err_w):
        os.close(fd)
    _widen(out_r)
    return Seed(pid, go_w, failure_r, out_r, err_r)


def _widen(pipe: int) -> None:
    """Room for a burst, so that an agent seldom waits for its warden."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(PermissionError):  # the user's pipes hold as much as they may: this one stays small
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def grow(seed: Seed, argv: list[str], env: dict[str, str], cwd: str, stdin: str | None) -> None:
    """Let the seed become the program. It closes `seed.failure` when it has, else writes there why not."""
    text = json.dumps([argv, env, cwd, stdin]).encode()
    try:
        while text:
            text = text[os.write(seed.go, text) :]
    except BrokenPipeError:  # it was killed: its wait status says so
        return
    finally:
        os.close(seed.take(seed.go))


def why(failure: bytes) -> tuple[str, int]:
    """What a seed wrote to `failure`: the reason in words, and the errno."""
    number, _, where = failure.partition(b" ")
    code = int(number)
    return f"{where.decode(errors='replace')}: {os.strerror(code)}", code


def _wait_and_become(parent: int, go: int, failure: int, outputs: tuple[int, int]) -> NoReturn:
    """In the child. Never returns, and never lets an exception reach the warden's code."""
    doing = "cannot start"
    try:
        os.setsid()
        processes.die_with_parent(parent)
        _reset_signals()
        os.dup2(outputs[0], 1)
        os.dup2(outputs[1], 2)
        text = b""
        while chunk := os.read(go, 65536):
            text += chunk
        if not text:
            os._exit(0)
        argv, env, cwd, stdin = _program(text)
        if stdin is not None:
            doing = f"cannot read stdin from {stdin!r}"
            os.dup2(os.open(stdin, os.O_RDONLY), 0)
        doing = f"cannot enter {cwd!r}"
        os.chdir(cwd)
        doing = f"cannot execute {argv[0]!r}"
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(failure, b"%d %s" % (error.errno or 0, doing.encode(errors="replace")[:2000]))
    except ValueError:  # a NUL in an argument or a variable
        os.write(failure, b"%d %s" % (errno.EINVAL, doing.encode(errors="replace")[:2000]))
    finally:
        os._exit(127)


def _program(text: bytes) -> tuple[Any, ...]:
    return tuple(json.loads(text))


def _reset_signals() -> None:
    """Python ignores SIGPIPE and SIGXFSZ, the launcher more; ignored signals stay so across exec."""
    signal.set_wakeup_fd(-1)
    for name in _RESET:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
