"""Commands as processes forked from one that has imported everything: nine tenths of a command's time is its imports.

What runs is the command line all the same, in a process of its own with environment, folder, stdin and pipes of its
own: what it starts is started as ever. Only what a program is when it begins is not tried by it: the tests that are
about that start `python -m maestro` (`tests/cli/`, and whatever names a variable of `APART`).
"""

from __future__ import annotations

import gc
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

APART = ("PYTHON", "LD_", "LC_", "MAESTRO_RUN_", "MAESTRO_LAUNCHER_", "SYSTEMD_", "NOTIFY_")
"""How variables begin that a program must have from its first instruction on, or that others read in /proc."""
ROOT = Path(__file__).parent.parent


class Forkery:
    """The process that commands are forked from; one for each process of the tests, which it ends with."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._turn = threading.Lock()
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAESTRO_", "LC_"))}
        with theirs:
            words = [sys.executable, "-m", "tests.forked_commands", str(theirs.fileno())]
            subprocess.Popen(
                words,
                env={**plain, "LANG": "C.UTF-8"},
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def run(self, words: tuple[str, ...], env: dict[str, str], stdin: str, timeout: float) -> tuple[int, bytes, bytes]:
        """Exit code, stdout and stderr of a command. Raises TimeoutExpired, when it is killed."""
        pipes = [os.pipe() for _ in range(3)]
        (in_r, in_w), (out_r, out_w), (err_r, err_w) = pipes
        ours, theirs = socket.socketpair()
        theirs_all = [theirs.fileno(), in_r, out_w, err_w]
        with ours:
            with self._turn:
                socket.send_fds(self._control, [b"!"], theirs_all)
            theirs.close()
            for number in theirs_all[1:]:
                os.close(number)
            umask = os.umask(0o077)
            os.umask(umask)
            asked = json.dumps([words, env, os.getcwd(), umask]).encode()
            ours.sendall(len(asked).to_bytes(8, "little") + asked)
            pid = int.from_bytes(ours.recv(4, socket.MSG_WAITALL), "little")
            try:
                out, err = _exchanged(in_w, stdin.encode(), (out_r, err_r), time.monotonic() + timeout)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, timeout) from None
            return int.from_bytes(ours.recv(4, socket.MSG_WAITALL), "little", signed=True), out, err


def _exchanged(stdin: int, data: bytes, sources: tuple[int, int], until: float) -> list[bytes]:
    """Write what is to be read, and read what is written, until the end of both sources; closes all of them."""
    found: dict[int, bytearray] = {source: bytearray() for source in sources}
    is_open = set(sources)
    os.set_blocking(stdin, False)
    writing = True
    try:
        while is_open:
            reads, writes, _ = select.select(
                is_open, [stdin] if writing else [], [], max(0.0, until - time.monotonic())
            )
            if not reads and not writes:
                raise TimeoutError
            if writes:
                try:
                    data = data[os.write(stdin, data) :] if data else b""
                except BrokenPipeError:
                    data = b""
                if not data:
                    os.close(stdin)
                    writing = False
            for source in reads:
                piece = os.read(source, 1 << 16)
                found[source] += piece
                if not piece:
                    is_open.remove(source)
        return [bytes(each) for each in found.values()]
    finally:
        for number in (*sources, *([stdin] if writing else [])):
            os.close(number)


_forkery: Forkery | None = None


def run(
    words: tuple[str, ...], env: dict[str, str], stdin: str, timeout: float, apart: tuple[str, ...] = APART
) -> subprocess.CompletedProcess[str]:
    """Carry out `maestro <words>`: by a fork, or from its first instruction on where a variable of `apart` is set."""
    global _forkery
    if any(name.startswith(apart) for name in env) or env.get("LANG") != "C.UTF-8":
        argv = [sys.executable, "-m", "maestro", *words]
        return subprocess.run(argv, env=env, input=stdin, capture_output=True, text=True, timeout=timeout)
    if _forkery is None or _forkery.owner != os.getpid():
        _forkery = Forkery()
    code, out, err = _forkery.run(words, env, stdin, timeout)
    return subprocess.CompletedProcess(["maestro", *words], code, out.decode(), err.decode())


def _serve(control: socket.socket) -> None:
    """Fork for each request, and tell how each ended, until nobody is there to ask."""
    woken_r, woken_w = os.pipe()
    for number in (woken_r, woken_w):
        os.set_blocking(number, False)
    signal.set_wakeup_fd(woken_w, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control, woken_r], [], [])
        with suppress(BlockingIOError):
            os.read(woken_r, 4096)
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with running.pop(ended[0]) as asker, suppress(OSError):
                    asker.sendall(os.waitstatus_to_exitcode(ended[1]).to_bytes(4, "little", signed=True))
        if control not in ready:
            continue
        message, numbers, _, _ = socket.recv_fds(control, 1, 4)
        if not message:
            return
        assert threading.active_count() == 1
        pid = os.fork()
        if not pid:
            control.close()
            for number in (woken_r, woken_w, *(asker.fileno() for asker in running.values())):
                os.close(number)
            _become(numbers)
        running[pid] = socket.socket(fileno=numbers[0])
        running[pid].sendall(pid.to_bytes(4, "little"))
        for number in numbers[1:]:
            os.close(number)


def _become(numbers: list[int]) -> NoReturn:
    """Be the command that is asked for at the first descriptor; the others are its stdin, stdout and stderr."""
    from maestro.__main__ import main

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(fileno=numbers[0]) as asker:
        size = int.from_bytes(asker.recv(8, socket.MSG_WAITALL), "little")
        words, env, folder, umask = json.loads(asker.recv(size, socket.MSG_WAITALL))
    for at, number in enumerate(numbers[1:]):
        os.dup2(number, at)
        os.close(number)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(folder)
    os.umask(umask)
    sys.argv = ["maestro", *words]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), "utf-8", "surrogateescape")
    sys.stdout = _written(1, "surrogateescape")
    sys.stderr = _written(2, "backslashreplace", line_buffering=True)
    try:
        main()
    finally:
        os._exit(1)


def _written(number: int, errors: str, **how: Any) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(number, "w")), "utf-8", errors, **how)


def _import_all() -> None:
    for package in ("maestro", "projections", "replayers"):
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                import_module(module.name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
