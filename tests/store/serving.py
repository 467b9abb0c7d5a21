"""Servers of a test's own: the binaries there are, and any number of them on unix sockets in one folder."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

from maestro.store.embedded.binary import in_wheel
from maestro.store.redis.resp import ErrorReply, dial

BINARIES: list[Path] = [path for path in (in_wheel(), Path("/usr/bin/redis-server")) if path and path.exists()]
if len(BINARIES) < 2:
    warnings.warn(f"the servers' tests run on {BINARIES} only: the other binary is not installed", stacklevel=1)


class Servers:
    """Use as a context manager: it kills all of them and removes their folder at the end."""

    def __init__(self, binary: Path) -> None:
        self.binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="mh"))
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)

    def start(self, *options: str, loaded: bool = True) -> str:
        """The URL of another server, with these options, once it answers. loaded: with its data, too."""
        socket = self.folder / f"{len(self._running)}.sock"
        data = socket.with_suffix(".data")
        data.mkdir()
        words = ["--port", "0", "--unixsocket", str(socket), "--dir", str(data), "--save", "", *options]
        self._running.append(subprocess.Popen([self.binary, *words], stdout=subprocess.DEVNULL))
        deadline = time.monotonic() + 20
        while not (answers(f"unix://{socket}") if loaded else socket.exists()):
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.005)
        return f"unix://{socket}"


def answers(url: str) -> bool:
    """Whether a server is there and has loaded its data, be it to say no."""
    try:
        with dial(url, 5) as wire:
            wire.call("PING")
    except ErrorReply as said:
        return said.code != "LOADING"
    except OSError:
        return False
    return True
