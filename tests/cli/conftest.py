"""A home of its own for each test, a scripted daemon in it, and the command line as users call it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from maestro.cli.app import run
from tests.cli.scripted import Scripted

Env = dict[str, str]


class Result(NamedTuple):
    """What a command line printed, and its exit code."""

    code: int
    out: str
    err: str


class CommandLine:
    """Calls the command line: `here` in this process (fast), `apart` in one of its own, `on_terminal` in a pty."""

    def __init__(self, env: Env, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch) -> None:
        self.env = env
        self._capture = capture
        self._patch = patch

    def here(self, *args: str) -> Result:
        """In this process; stdout is no terminal."""
        for name, value in self.env.items():
            self._patch.setenv(name, value)
        self._capture.readouterr()
        code = run(list(args))
        out, err = self._capture.readouterr()
        return Result(code, out.decode(), err.decode())

    def apart(self, *args: str, stdin: bytes | None = None, **env: str) -> Result:
        """In a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "maestro", *args],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env={**self.env, **env},
            timeout=60,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def on_terminal(self, *args: str, stdin: bytes = b"", **env: str) -> Result:
        """In a process whose stdin, stdout and stderr are one terminal, 200 columns wide; all it shows is in `out`."""
        main, other = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "maestro", *args],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**self.env, "COLUMNS": "200", "TERM": "xterm", **env},
        )
        os.close(other)
        os.write(main, stdin)
        shown = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            shown += piece
        os.close(main)
        return Result(process.wait(30), shown.decode().replace("\r\n", "\n"), "")


@pytest.fixture
def home() -> Iterator[Path]:
    """MAESTRO_HOME, on a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="mcli-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def env(home: Path) -> Env:
    """What the command line sees: its home, and nothing of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAESTRO_", "XDG_"))}
    return {**kept, "HOME": str(home), "MAESTRO_HOME": str(home), "MAESTRO_WORKSPACE_ROOT": str(home / "root")}


@pytest.fixture
def maestro(env: Env, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line."""
    for name in [name for name in os.environ if name.startswith(("MAESTRO_", "XDG_"))]:
        monkeypatch.delenv(name)
    return CommandLine(env, capfdbinary, monkeypatch)


@pytest.fixture
def daemon(home: Path) -> Iterator[Scripted]:
    """A scripted daemon that answers in this home."""
    server = Scripted(home / "daemon.sock")
    yield server
    server.close()
