"""A running `maestro board` for tests: the real command over an installation, entered as a browser does."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.installation import Installation

START_S_MAX = 60.0


class RunningBoard:
    """The board of an installation, as a process. Use as a context manager. cookie: what the entrance has given."""

    def __init__(self, installation: Installation, *options: str, **env: str) -> None:
        words = [sys.executable, "-m", "maestro", "board", "--port", "0", "--format", "json", *options]
        self.process = subprocess.Popen(
            words, env={**installation.env, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], START_S_MAX)[0], "the board did not begin"
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        self.begun: dict[str, Any] = json.loads(line)
        self.port: int = self.begun["port"]
        self.url: str = self.begun["url"]
        self.base = f"http://127.0.0.1:{self.port}"
        self.cookie = ""
        self.token = ""

    def enter(self) -> RunningBoard:
        """Exchange the token of the printed address for the cookie, and read the token of POSTs."""
        status, headers, _ = self.raw(f"GET /{self.url.partition('7.0.0.1:')[2].partition('/')[2]} HTTP/1.1\r\n")
        assert (status, headers["location"]) == (303, "/")
        self.cookie = headers["set-cookie"].partition(";")[0]
        self.token = self.get("/api/session")["token"]
        return self

    def raw(self, head: str, host: str | None = None, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send the first line and headers of a request as they are, with a Host unless that is ""; read the answer."""
        host = f"127.0.0.1:{self.port}" if host is None else host
        named = f"Host: {host}\r\n" if host else ""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
            link.sendall(f"{head}{named}Connection: close\r\n\r\n".encode("utf-8", "surrogateescape") + body)
            return answer_of(link)

    def ask(self, path: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
        """GET a path with the cookie and other headers."""
        lines = "".join(f"{line}\r\n" for line in (f"Cookie: {self.cookie}", *headers))
        return self.raw(f"GET {path} HTTP/1.1\r\n{lines}")

    def get(self, path: str) -> Any:
        """The JSON of a path, which must be answered with 200."""
        status, _, body = self.ask(path)
        assert status == 200, (path, status, body[:500])
        return json.loads(body)

    def post(self, path: str, data: Any, *headers: str) -> tuple[int, dict[str, str], bytes]:
        """POST JSON as the page does: with cookie, Origin and token."""
        body = json.dumps(data).encode()
        given = (f"Cookie: {self.cookie}", f"Origin: {self.base}", f"X-Maestro-Token: {self.token}", *headers)
        lines = "".join(f"{line}\r\n" for line in (*given, f"Content-Length: {len(body)}"))
        return self.raw(f"POST {path} HTTP/1.1\r\n{lines}", body=body)

    def news(self, path: str = "/api/stream", *headers: str) -> Stream:
        """Listen to a stream of news."""
        return Stream(self, path, headers)

    def end(self, signal_: int = signal.SIGTERM) -> tuple[int, bytes]:
        """End it by a signal; its exit code as subprocess has it, and what it said on stderr."""
        self.process.send_signal(signal_)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def __enter__(self) -> RunningBoard:
        return self.enter()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end()


class Stream:
    """The server-sent events of one connection, as (name, id, data)."""

    def __init__(self, board: RunningBoard, path: str, headers: tuple[str, ...]) -> None:
        self._link = socket.create_connection(("127.0.0.1", board.port), timeout=30)
        lines = "".join(f"{line}\r\n" for line in (f"Cookie: {board.cookie}", *headers))
        host = f"127.0.0.1:{board.port}"
        self._link.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n{lines}\r\n".encode())
        self._file = self._link.makefile("rb")
        while self._file.readline().strip():
            pass

    def __iter__(self) -> Iterator[tuple[str, int | None, Any]]:
        fields: dict[str, str] = {}
        for line in self._file:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key:
                fields[key] = value
            elif "event" in fields:
                yield fields["event"], int(fields["id"]) if "id" in fields else None, json.loads(fields["data"])
                fields = {}
            else:
                fields = {}

    def until(self, name: str) -> tuple[int | None, Any]:
        """The id and data of the next event of a name."""
        return next((number, data) for found, number, data in self if found == name)

    def cut(self) -> None:
        """Break the connection off."""
        self._link.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._link.close()


def answer_of(link: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The status, headers (names in lower case) and body that a connection answers with before it ends."""
    data = b""
    while chunk := link.recv(1 << 20):
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return int(first.split()[1]) if first else 0, headers, body


def _joined(chunked: bytes) -> bytes:
    found = b""
    while chunked:
        size, _, rest = chunked.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        found, chunked = found + rest[:length], rest[length + 2 :]
    return found


def until(true: Any, seconds: float = 30.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def left(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process is still there."""
    return process.poll() is None and os.path.exists(f"/proc/{process.pid}")
