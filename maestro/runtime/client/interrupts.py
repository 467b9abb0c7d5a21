"""Handles Ctrl-C while a command runs, and passes it on to the server."""

from __future__ import annotations

import signal
import socket
import threading
from types import TracebackType

from maestro.runtime.protocol import frames, messages as p


class Interrupts:
    """Context in which the first Ctrl-C is sent to the server, and the second raises KeyboardInterrupt."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.sent = False
        self.count = 0

    def __enter__(self) -> Interrupts:
        self._ours = threading.current_thread() is threading.main_thread()
        if self._ours:
            self._before = signal.signal(signal.SIGINT, lambda *_: self._on_signal())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self) -> None:
        self.count += 1
        if self.count > 1 or not self.sent:
            raise KeyboardInterrupt
        try:
            frames.send(self._sock, p.Interrupt())
        except OSError:
            raise KeyboardInterrupt from None
