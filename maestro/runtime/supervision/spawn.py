"""The start of an agent's program: with its own session, its three streams and no other descriptor of the warden.

posix_spawn shares the warden's memory until the program runs, so it costs what the program costs and not what the
warden weighs; a fork took three times as long. It says at once why a program cannot run. It sets no parent-death
signal: what a killed warden leaves is killed by the launcher, else by the worker, else by the janitor or the next
holder of the workspace. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_PIPE_BYTES = 256 * 1024
_IGNORED = ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGQUIT", "SIGHUP", "SIGTERM")
_DEFAULTS = tuple(getattr(signal, name) for name in _IGNORED)
"""Signals that Python, nohup or a shell's `&` ignores: they would stay ignored across exec, in the agent as well."""

RETRIABLE = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)
"""Failures to start a program that are no fault of the program: later it may well start."""


class Unstartable(Exception):
    """The program cannot start, and nothing of it runs. retriable: it may well start later."""

    def __init__(self, what: str, number: int | None = None, retriable: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.number = number
        self.retriable = retriable

    @classmethod
    def of(cls, doing: str, error: OSError) -> Unstartable:
        """The error for a call that failed. doing: what it was to do, in words."""
        return cls(f"{doing}: {error.strerror}", error.errno, error.errno in RETRIABLE)


class Program(NamedTuple):
    """A program that runs. stdout, stderr: the reading ends of its pipes, the caller's to close."""

    pid: int
    stdout: int
    stderr: int


def start(argv: list[str], env: dict[str, str], cwd: str, stdin: str | None) -> Program:
    """Run a program. argv[0]: a path, also relative to cwd, or a name looked up on the PATH of `env`.

    The process's own working folder changes for a moment. Raises Unstartable.
    """
    with contextlib.ExitStack() as until_started, contextlib.ExitStack() as if_not:
        try:
            doing = "cannot make a pipe"
            out_r, out_w = os.pipe()
            if_not.callback(os.close, out_r)
            until_started.callback(os.close, out_w)
            err_r, err_w = os.pipe()
            if_not.callback(os.close, err_r)
            until_started.callback(os.close, err_w)
            _widen(out_r)
            doing = f"cannot read stdin from {stdin!r}"
            input_fd = os.open(stdin or os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            until_started.callback(os.close, input_fd)
            doing = f"cannot enter {cwd!r}"
            os.chdir(cwd)
            until_started.callback(os.chdir, "/")
            doing = f"cannot execute {argv[0]!r}"
            pid = os.posix_spawn(
                _found(argv[0], env.get("PATH", os.defpath)),
                argv,
                env,
                file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((input_fd, out_w, err_w))],
                setsid=True,
                setsigdef=_DEFAULTS,
            )
        except OSError as error:
            raise Unstartable.of(doing, error) from error
        except ValueError as error:  # a NUL, or a name with `=`
            raise Unstartable(f"{doing}: {error}", errno.EINVAL) from error
        if_not.pop_all()
        return Program(pid, out_r, err_r)


def run_to_end(argv: Sequence[str], env: dict[str, str], patience_s: float = 10.0) -> bool:
    """Run a command and wait for its end, `patience_s` seconds at most, then kill it; whether it succeeded."""
    with contextlib.suppress(OSError), Path(os.devnull).open("r+b", buffering=0) as null:
        actions = [(os.POSIX_SPAWN_DUP2, null.fileno(), number) for number in range(3)]
        pid = os.posix_spawn(_found(argv[0], env.get("PATH", os.defpath)), list(argv), env, file_actions=actions)
        deadline = time.monotonic() + patience_s
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status == 0
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
    return False


def _found(name: str, path: str) -> str:
    """The file that a shell would run for this name. Raises FileNotFoundError where there is none."""
    if "/" in name:
        return name
    for folder in path.split(":"):
        file = f"{folder or '.'}/{name}"
        if os.access(file, os.X_OK) and Path(file).is_file():
            return file
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _widen(pipe: int) -> None:
    """Give a pipe room for a burst, so that an agent seldom waits for its warden."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(PermissionError):  # the user's pipes hold as much as they may: this one stays small
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
