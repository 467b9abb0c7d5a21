"""Object stores with the S3 API: moto (PyPI) and s3rver (npm), behind a proxy that cuts, stalls and alters."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.agents.clis import S3RVER

BUCKET = "bucket"
KINDS = ["moto", *(["s3rver"] if S3RVER.path.exists() and shutil.which("node") else [])]


class TcpProxy:
    """A port before another one.

    cuts: how many bytes each of the next connections lets through to the server, before it is cut. stalled: nothing is
    passed on. altered: what is replaced in what goes to the server, by bytes of the same length.
    """

    def __init__(self, target: int) -> None:
        self.cuts: list[int] = []
        self.altered: tuple[bytes, bytes] | None = None
        self.passed = 0
        self._target = target
        self._flows = threading.Event()
        self._flows.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            cut = self.cuts.pop(0) if self.cuts else None
            threading.Thread(target=self._pump, args=(client, server, cut, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, None, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, cut: int | None, up: bool) -> None:
        left = cut
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                if up and self.altered is not None:
                    data = data.replace(*self.altered)
                if left is not None:
                    data, left = data[:left], left - len(data)
                sink.sendall(data)
                self.passed += len(data) if up else 0
                if left is not None and left <= 0:
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def object_store(kind: str) -> Iterator[int]:
    """The port of an object store that has the bucket, for the block."""
    with _moto() if kind == "moto" else _s3rver() as port:
        yield port


def environment(port: int) -> dict[str, str]:
    """The variables that lead to it."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "S3RVER",
        "AWS_SECRET_ACCESS_KEY": "S3RVER",
        "AWS_REGION": "us-east-1",
    }


@contextmanager
def _moto() -> Iterator[int]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    url = f"http://127.0.0.1:{port}"
    try:
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).read()
        urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT")).read()
        yield port
    finally:
        server.stop()


@contextmanager
def _s3rver() -> Iterator[int]:
    folder = tempfile.mkdtemp(prefix="s3rver-")
    port = _free_port()
    command = [str(S3RVER.path), "-d", folder, "-a", "127.0.0.1", "-p", str(port), "--silent"]
    process = subprocess.Popen(
        [*command, "--configure-bucket", BUCKET], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(lambda: socket.create_connection(("127.0.0.1", port), 0.2).close())
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait(action: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            action()
            return
        except OSError:
            assert time.monotonic() < until, "it does not start"
            time.sleep(0.05)


@contextmanager
def variables(**named: str) -> Iterator[None]:
    """These environment variables in this process, for the block."""
    before = {name: os.environ.get(name) for name in named}
    os.environ.update(named)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
