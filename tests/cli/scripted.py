"""A server that says what a test tells it to, over a real socket: the protocol's other side, without its handlers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from maestro import __version__
from maestro.runtime.protocol import frames, messages as p

Script = Callable[[p.Command], Iterable[msgspec.Struct]]
_client_frames = msgspec.msgpack.Decoder(p.ClientFrame)


class Scripted:
    """Listens at `path`, greets with `greeting` (None: closes), then answers each command with the frames of `script`.

    commands, callers: what came in. `until_interrupt`: frames to send once the client has sent `Interrupt`.
    """

    def __init__(self, path: Path) -> None:
        self.commands: list[p.Command] = []
        self.callers: list[p.Caller] = []
        self.greeting: msgspec.Struct | None = p.Welcome(__version__, "node-1")
        self.greetings: list[msgspec.Struct | None] = []  # used up first, one a connection
        self.script: Script = lambda _: [p.Done()]
        self.until_interrupt: list[msgspec.Struct] | None = None
        self.interrupted = threading.Event()
        self.asked = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(50)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def answers(self, *frames: msgspec.Struct) -> None:
        """Answer every command with these frames."""
        self.script = lambda _: frames

    def close(self) -> None:
        """Listen no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                try:
                    self._serve(sock)
                except (BrokenPipeError, ConnectionResetError):
                    continue

    def _serve(self, sock: socket.socket) -> None:
        bodies = frames.bodies(sock)
        first = next(bodies, None)
        if first is None:
            return
        hello = _client_frames.decode(first)
        assert isinstance(hello, p.Hello)
        self.callers.append(hello.caller)
        greeting = self.greetings.pop(0) if self.greetings else self.greeting
        if greeting is None:
            return
        frames.send(sock, greeting)
        if not isinstance(greeting, p.Welcome):
            return
        body = next(bodies, None)
        if body is None:
            return
        command = _client_frames.decode(body)
        assert isinstance(command, p.Command)
        self.commands.append(command)
        self.asked.set()
        for answer in self.script(command):
            frames.send(sock, answer)
        if self.until_interrupt is not None:
            assert isinstance(_client_frames.decode(next(bodies)), p.Interrupt)
            self.interrupted.set()
            for answer in self.until_interrupt:
                frames.send(sock, answer)
