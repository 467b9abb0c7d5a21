"""A program that has a whole terminal to itself, and that terminal: what is on it, in what mode it is, what it got."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.cells import cell_len

_PIECE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")
PATIENCE_S = 30.0


class Screen:
    """A terminal of a size; fails on any sequence that it does not know. It never wraps where that was switched off."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self.other = False
        self.cursor_shown = True
        self.wraps = False
        self.cleared = 0
        self.open_frames = 0
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.cells = [[" "] * width for _ in range(height)]
        self.row = self.column = 0

    def feed(self, text: str) -> Screen:
        at = 0
        while at < len(text):
            found = _PIECE.match(text, at)
            assert found is not None, f"what is {text[at : at + 20]!r}?"
            at = found.end()
            if found[2]:
                self._control(found[1], found[2])
            elif found[0] == "\n":
                self.row = min(self.height - 1, self.row + 1)
            elif found[0] == "\r":
                self.column = 0
            else:
                self._write(found[0])
        return self

    def _control(self, parameters: str, kind: str) -> None:
        match kind, parameters:
            case "h" | "l", "?1049":
                self.other = kind == "h"
            case "h" | "l", "?25":
                self.cursor_shown = kind == "h"
            case "h" | "l", "?7":
                self.wraps = kind == "h"
            case "h" | "l", "?2026":
                self.open_frames += 1 if kind == "h" else -1
            case "H", _:
                row, column = (int(part) for part in parameters.split(";"))
                assert 1 <= row <= self.height, f"line {row} of {self.height}"
                self.row, self.column = row - 1, column - 1
            case "K", "":
                self.cells[self.row][self.column :] = [" "] * (self.width - self.column)
            case "J", "2":
                self.cleared += 1
                self.cells = [[" "] * self.width for _ in range(self.height)]
            case "m", _:
                pass
            case _:
                raise AssertionError(f"what is {parameters}{kind}?")

    def _write(self, text: str) -> None:
        for char in text:
            assert char.isprintable(), f"{char!r} was written"
            width = cell_len(char)
            if width == 0:  # it belongs to the sign before it, which may take two columns
                at = self.column - 1
                if at > 0 and not self.cells[self.row][at]:
                    at -= 1
                if at >= 0:
                    self.cells[self.row][at] += char
                continue
            if self.wraps and self.column + width > self.width:
                self.row, self.column = min(self.height - 1, self.row + 1), 0
            assert self.column + width <= self.width, f"{text!r} does not fit into line {self.row + 1}"
            self.cells[self.row][self.column : self.column + width] = [char, *[""] * (width - 1)]
            self.column += width

    @property
    def lines(self) -> list[str]:
        """What is on it, line by line."""
        return ["".join(row).rstrip() for row in self.cells]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Program:
    """A program in a session of its own whose stdin, stdout and stderr are one terminal."""

    def __init__(self, words: Sequence[str], env: dict[str, str], width: int = 80, height: int = 24) -> None:
        self.main, self._other = os.openpty()
        self.screen = Screen(width, height)
        self.screen.wraps = True
        self.output = b""
        self._rest = b""
        self._size(width, height)
        self.mode = termios.tcgetattr(self._other)
        self.process = subprocess.Popen(
            list(words),
            stdin=self._other,
            stdout=self._other,
            stderr=self._other,
            env={**env, "TERM": "xterm-256color", "LANG": "C.UTF-8"},
            start_new_session=True,
        )

    def _size(self, width: int, height: int) -> None:
        fcntl.ioctl(self._other, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def resize(self, width: int, height: int) -> None:
        self.read(0.1)
        self.screen.resize(width, height)
        self._size(width, height)
        self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: bytes) -> None:
        os.write(self.main, keys)

    def read(self, seconds: float) -> bytes:
        """Take what it writes for so long."""
        deadline, got = time.monotonic() + seconds, b""
        while (left := deadline - time.monotonic()) > 0 and select.select([self.main], [], [], left)[0]:
            piece = os.read(self.main, 65536)
            got += piece
            self._take(piece)
        return got

    def _take(self, piece: bytes) -> None:
        self.output += piece
        data = self._rest + piece
        end = data.rfind(b"\x1b")
        whole = data if end < 0 or re.search(rb"[A-Za-z]", data[end + 1 :]) else data[:end]
        while True:
            try:
                text = whole.decode()
                break
            except UnicodeDecodeError as error:
                whole = whole[: error.start]
        self._rest = data[len(whole) :]
        self.screen.feed(text)

    def until(self, true: Callable[[Screen], Any]) -> Screen:
        """Read until the screen is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not (not self.screen.open_frames and true(self.screen)):
            assert time.monotonic() < deadline, f"this is not what was waited for:\n{self.screen.text}"
            assert self.process.poll() is None, f"it ended:\n{self.output[-2000:].decode(errors='replace')}"
            self.read(0.05)
        return self.screen

    def ended(self) -> int:
        """Wait for its end; its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end:\n{self.screen.text}"
            self.read(0.05)
        self.read(0.05)
        return self.process.returncode

    def given_back(self) -> bool:
        """Whether the terminal is as it was: its mode, its first screen, its cursor, its wrapping."""
        screen = self.screen
        same = termios.tcgetattr(self._other) == self.mode
        return same and not screen.other and screen.cursor_shown and screen.wraps and not screen.open_frames

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.send_signal(signal.SIGCONT)
        self.process.wait(30)
        os.close(self.main)
        os.close(self._other)
