"""The agent's process, as its driver holds it: lines of JSON to its stdin and from its stdout, without blocking.

Its stderr is the driver's own. A line above `LINE_BYTES_MAX` is not kept: how it begins says what was lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

LINE_BYTES_MAX = 4 * 1024 * 1024
HEAD_BYTES = 512
CHUNK_BYTES = 64 * 1024
WAIT_S_MAX = 3600.0
END_S = 2.0
"""How long the agent may take to end by itself once its stdin is closed, and once more after SIGTERM."""


class TooLong(NamedTuple):
    """A line that was too long to be kept. head: how it begins; size: its length in bytes."""

    head: bytes
    size: int


class Lines:
    """Assembles lines of received bytes; of one that is too long it keeps the head only."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> Iterator[bytes | TooLong]:
        """Take received bytes; yields the lines that are complete now."""
        for part in _split(data):
            whole = part.endswith(b"\n")
            if self._dropped or len(self._pending) + len(part) > LINE_BYTES_MAX:
                self._dropped += len(part) + (len(self._pending) if not self._dropped else 0)
                del self._pending[HEAD_BYTES:]
            else:
                self._pending += part
            if whole:
                yield TooLong(bytes(self._pending), self._dropped) if self._dropped else bytes(self._pending)
                self._pending, self._dropped = bytearray(), 0


def _split(data: bytes) -> list[bytes]:
    """The lines of some bytes, each but the last one with its line end; a carriage return ends none."""
    parts = [part + b"\n" for part in data.split(b"\n")]
    parts[-1] = parts[-1][:-1]
    return [part for part in parts if part]


class AgentProcess:
    """An agent that speaks the protocol. wake: a descriptor that becomes readable when `pump` should return early."""

    def __init__(self, argv: Sequence[str], cwd: str, wake: int) -> None:
        self._process = subprocess.Popen(argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._lines = Lines()
        self._unsent = bytearray()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._selector.register(wake, selectors.EVENT_READ)
        self._wake = wake
        self.over = False
        for stream in (self._stdin, self._stdout):
            os.set_blocking(stream.fileno(), False)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, as fast as the agent takes it."""
        if self._stdin.closed:
            return
        if not self._unsent:
            self._selector.register(self._stdin, selectors.EVENT_WRITE)
        self._unsent += json.dumps(message, ensure_ascii=True).encode() + b"\n"

    def pump(self, wait_s: float, take: Callable[[bytes | TooLong], None]) -> None:
        """Wait for the agent or the wake descriptor; hand over the lines that have come. `over`: there come no more."""
        for key, _ in self._selector.select(min(max(0.0, wait_s), WAIT_S_MAX)):
            if key.fileobj is self._stdin:
                self._write()
            elif key.fileobj is self._stdout:
                self._read(take)
            else:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)

    def _write(self) -> None:
        try:
            del self._unsent[: os.write(self._stdin.fileno(), self._unsent[: 16 * CHUNK_BYTES])]
        except BlockingIOError:
            return
        except OSError:  # it does not listen any more; whether it has ended tells its stdout
            self._unsent.clear()
        if not self._unsent:
            self._selector.unregister(self._stdin)

    def _read(self, take: Callable[[bytes | TooLong], None]) -> None:
        try:
            data = os.read(self._stdout.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(self._stdout)
            self.over = True
        for line in self._lines.feed(data):
            take(line)

    def ended_how(self) -> str:
        """How the process has ended, in words, once its stdout is closed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        code = self._process.returncode
        if code is None:
            return "it has closed its stdout"
        return f"ended by signal {-code}" if code < 0 else f"exit {code}"

    def end(self, at_once: bool) -> None:
        """End the process: its stdin is closed, then (or with that, if at once) it gets SIGTERM, then SIGKILL."""
        self._stdin.close()
        for number in (*(() if at_once else (0,)), signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(number)
            deadline = time.monotonic() + END_S
            while self._process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError):  # what it still says must not hinder its end
                    if not os.read(self._stdout.fileno(), CHUNK_BYTES):
                        time.sleep(0.01)
                    continue
                time.sleep(0.01)
            if self._process.returncode is not None:
                return
