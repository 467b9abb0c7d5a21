"""What a program waits for, and what comes between: a daemon that ends, a signal."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import msgspec
import pytest

from maestro import connect
from maestro.library.async_client import AsyncMaestro
from maestro.model.errors import LineageBroken
from maestro.runtime.protocol import frames, messages as p
from tests.cli.scripted import Scripted
from tests.library.conftest import Waiting, both, runs


@both
def test_followed_events_go_on_behind_the_last_one_at_the_next_daemon(
    home: Path, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first daemon ends in the middle of an event; between the two nobody listens."""

    path = home / "daemon.sock"
    servers: list[Scripted] = []

    class Cut(Scripted):
        def _serve(self, sock: socket.socket) -> None:
            super()._serve(sock)
            sock.sendall(frames.frame(p.Item({"seq": 5}))[:-2])
            self._listener.close()
            path.unlink()
            threading.Timer(0.3, second_daemon).start()

    def begin(kind: type[Scripted], *answers: msgspec.Struct) -> None:
        servers.append(kind(path))
        servers[-1].answers(*answers)

    def second_daemon() -> None:
        begin(Scripted)
        proof, rest = [p.Item({"seq": 4}), p.Done()], [p.Item({"seq": 5}), p.Item({"seq": 9}), p.Done()]
        servers[-1].script = lambda command: rest if command.follow else proof

    def first_daemon() -> None:
        begin(Cut, p.Item({"seq": 3}), p.Item({"seq": 4}))

    def check(seen: list[int]) -> None:
        assert seen == [3, 4, 5, 9]
        (first,), (proof, second) = servers[0].commands, servers[1].commands
        assert isinstance(first, p.EventsTail) and isinstance(second, p.EventsTail)
        assert proof == p.EventsTail(from_position=4, limit=1)
        assert (first.from_position, first.limit, second.from_position, second.limit) == (3, 4, 5, 2)
        assert second.types == ("run.ended",) and "its events go on" in caplog.text
        servers[1].close()
        path.unlink()
        servers.clear()

    first_daemon()
    seen = []
    for event in connect().events(after=2, types="run.ended", follow=True, limit=4):
        seen.append(event["seq"])
    check(seen)

    async def work(client: AsyncMaestro) -> None:
        seen = []
        async for event in client.events(after=2, types="run.ended", follow=True, limit=4):
            seen.append(event["seq"])
        check(seen)

    first_daemon()
    runs(backend, work)


@both
@pytest.mark.parametrize("there", [[], [{"seq": 4, "type": "node.joined"}]])
def test_a_log_that_was_flushed_meanwhile_is_not_followed_as_if_it_were_the_same(
    home: Path, backend: str, there: list[dict[str, object]]
) -> None:
    """Its events up to that position never came, and those behind it as if they went on."""

    class Cut(Scripted):
        def _serve(self, sock: socket.socket) -> None:
            super()._serve(sock)
            self._listener.close()
            (home / "daemon.sock").unlink()
            Scripted(home / "daemon.sock").script = lambda _: [*map(p.Item, there), p.Done()]

    def first_daemon() -> None:
        (home / "daemon.sock").unlink(missing_ok=True)
        Cut(home / "daemon.sock").answers(p.Item({"seq": 4, "type": "state.set"}))

    first_daemon()
    followed = connect().events(follow=True)
    assert next(followed)["seq"] == 4
    with pytest.raises(LineageBroken, match="another event, or none, at position 4"):
        next(followed)

    async def work(client: AsyncMaestro) -> None:
        followed = client.events(follow=True)
        assert (await anext(followed))["seq"] == 4
        with pytest.raises(LineageBroken):
            await anext(followed)

    first_daemon()
    runs(backend, work)


def test_what_a_signal_handler_raises_ends_the_call(waiting: Waiting) -> None:
    """Also TimeoutError, which the socket's own waits raise."""

    def late(*_: object) -> None:
        raise TimeoutError("too late")

    before = signal.signal(signal.SIGUSR1, late)
    try:
        for call in (lambda: connect().wait("t"), lambda: next(connect().events(follow=True))):
            waiting.asked.clear()
            threading.Thread(target=lambda: waiting.asked.wait(20) and os.kill(os.getpid(), signal.SIGUSR1)).start()
            with pytest.raises(TimeoutError, match="too late"):
                call()
            assert waiting.gone.acquire(timeout=20)
    finally:
        signal.signal(signal.SIGUSR1, before)
