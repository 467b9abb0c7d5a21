"""The Python client against a server that a test scripts: errors, ends, cancellations, on both event loops."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import pytest

import maestro
from maestro import connect, errors
from maestro.library.async_client import AsyncMaestro
from maestro.runtime.protocol import messages as p
from tests.cli.scripted import Scripted
from tests.library.conftest import Waiting, both, runs

FAILED = p.Failed("refused", 4, "agent a is busy", "task dispatch", "wait for it")


def test_an_error_has_the_class_and_the_fields_that_the_command_tells(daemon: Scripted) -> None:
    for code, kind in {"refused": errors.Refused, "unknown": errors.Unknown, "timed_out": errors.TimedOut}.items():
        daemon.answers(msgspec.structs.replace(FAILED, code=code, exit_code=kind.exit_code))
        with pytest.raises(kind) as found:
            connect().dispatch("x", "a")
        error = found.value
        assert (error.what, error.where, error.mend) == (FAILED.what, FAILED.where, FAILED.mend)
        assert (error.code, error.exit_code) == (code, kind.exit_code)
    daemon.answers(p.Failed("of_tomorrow", 77, "what nobody knows yet"))
    with pytest.raises(errors.MaestroError) as other:
        connect().task("x")
    assert (other.value.code, other.value.exit_code) == ("of_tomorrow", 77)


@both
def test_an_awaited_call_raises_the_same(daemon: Scripted, backend: str) -> None:
    daemon.answers(FAILED)

    async def work(client: AsyncMaestro) -> None:
        with pytest.raises(errors.Refused, match="agent a is busy"):
            await client.dispatch("x", "a")
        with pytest.raises(errors.Refused):
            async for _ in client.events():
                pass

    runs(backend, work)


def test_what_a_call_asks_for_is_the_command(daemon: Scripted) -> None:
    client = connect()
    client.dispatch("@x", "a", timeout=5, depends_on="t", key="k", verify="true")
    client.dispatch("x", ["a", "b"])
    client.restore_dry_run("latest", at=7, workspace="a/../b")
    client.wait_all([])
    first, second, dry = daemon.commands
    wanted = p.TaskDispatch(prompt="@x", to=["a"], timeout_s=5, depends_on=["t"], key="k", verify="true")
    assert first == wanted
    assert isinstance(second, p.TaskDispatch) and second.first and str(second.key).startswith("once-")
    assert dry == p.RestorePreview(source="latest", at="7", workspace=str(Path.cwd() / "b"))


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"timeout": "10m"}, "timeout"),
        ({"key": " "}, "key"),
        ({"to": 3}, ""),
        ({"to": [b"a"]}, "to[0]"),
        ({"bogus": 1}, ""),
        ({"timeout_s": 1}, ""),
        ({"retries": "1"}, "retries"),
        ({"prompt": "\ud800"}, ""),
    ],
)
def test_a_value_of_another_type_is_invalid_before_anything_is_sent(
    daemon: Scripted, options: dict[str, object], where: str
) -> None:
    with pytest.raises(errors.Invalid) as found:
        connect().dispatch(**{"prompt": "x", "to": "a", **options})  # type: ignore[arg-type]
    assert found.value.where == where and "\n" not in str(found.value)
    for params in ([1], {"a": object()}, {"a": 2**70}):
        with pytest.raises(errors.Invalid):
            connect().workflows.run("w", params=params)  # type: ignore[arg-type]
    for timeout in (float("nan"), -1):
        with pytest.raises(errors.Invalid):
            connect().wait("t", timeout)
    for path in (5, b"x", "/a\0b"):
        with pytest.raises(errors.Invalid, match="is no path"):
            connect().restore_dry_run(path)  # type: ignore[arg-type]
        with pytest.raises(errors.Invalid, match="is no path"):
            connect().snapshot(output=path)  # type: ignore[typeddict-item]
    assert not daemon.commands


def test_no_id_is_not_the_newest(daemon: Scripted) -> None:
    client = connect()
    for ask in (client.task, client.result, client.results, client.workflows.status):
        with pytest.raises(errors.Invalid, match="None is no id"):
            ask(None)  # type: ignore[operator]
    assert not daemon.commands


def test_a_decimal_is_sent_as_the_number_that_it_is(daemon: Scripted) -> None:
    connect().dispatch("x", "a", timeout=Decimal("1.5"), budget_cost=Decimal("0.25"))  # type: ignore[arg-type]
    (sent,) = daemon.commands
    assert isinstance(sent, p.TaskDispatch) and (sent.timeout_s, sent.budget_cost) == (1.5, 0.25)


@both
def test_what_may_have_been_done_is_unknown(daemon: Scripted, backend: str) -> None:
    daemon.answers()
    with pytest.raises(errors.Unknown, match="--key once-"):
        connect().dispatch("x", "a")
    with pytest.raises(errors.Unknown, match="maestro state snapshots"):
        connect().snapshot()

    async def work(client: AsyncMaestro) -> None:
        with pytest.raises(errors.Unknown):
            await client.cancel("t")
        with pytest.raises(errors.StoreAway) as found:
            await client.wait("t")
        assert not isinstance(found.value, errors.Unknown), "what only waits has done nothing"

    runs(backend, work)


@both
def test_the_next_daemon_gets_what_one_that_restarts_could_not_answer(daemon: Scripted, backend: str) -> None:
    wait = p.TaskWait(ids=["t"], one=True)

    def script(command: p.Command) -> list[msgspec.Struct]:
        return [p.Done({"id": "t"})] if command == wait else [p.Again(wait)]

    daemon.script = script
    assert connect().task("t") == {"id": "t"}

    async def work(client: AsyncMaestro) -> None:
        assert await client.task("t") == {"id": "t"}

    runs(backend, work)


@both
def test_a_server_that_ends_before_its_answer_is_an_error(daemon: Scripted, backend: str) -> None:
    daemon.answers(p.Item({"seq": 1}))
    seen = []
    with pytest.raises(errors.StoreAway, match="ended before it answered"):
        for event in connect().events():
            seen.append(event)
    assert seen == [{"seq": 1}]

    async def work(client: AsyncMaestro) -> None:
        with pytest.raises(errors.StoreAway, match="ended before it answered"):
            await client.wait("t")

    runs(backend, work)


@both
def test_without_a_daemon_it_says_so(home: Path, backend: str) -> None:
    with pytest.raises(errors.Refused, match="maestro up"):
        connect().wait("t")

    async def work(client: AsyncMaestro) -> None:
        with pytest.raises(errors.Refused, match="maestro up"):
            await client.wait("t")

    runs(backend, work)


def test_an_iterator_that_is_left_ends_its_command(waiting: Waiting) -> None:
    waiting.first = [p.Item({"seq": 1}), p.Item({"seq": 2})]
    for event in connect().events(follow=True):
        assert event == {"seq": 1}
        break
    assert waiting.gone.acquire(timeout=20)


@both
def test_an_awaited_iterator_that_is_left_ends_its_command(waiting: Waiting, backend: str) -> None:
    waiting.first = [p.Item({"seq": 1}), p.Item({"seq": 2})]

    async def work(client: AsyncMaestro) -> None:
        async with aclosing(client.events(follow=True)) as events:
            async for event in events:
                assert event == {"seq": 1}
                break
        assert await anyio.to_thread.run_sync(waiting.gone.acquire, True, 20)

    runs(backend, work)


def test_ctrl_c_ends_the_call_and_its_command(waiting: Waiting) -> None:
    threading.Thread(target=lambda: waiting.asked.wait(20) and os.kill(os.getpid(), signal.SIGINT)).start()
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        connect().wait("t")
    assert signal.getsignal(signal.SIGINT) is handler
    assert waiting.gone.acquire(timeout=20)


@both
def test_a_cancelled_call_ends_its_command(waiting: Waiting, backend: str) -> None:
    async def work(client: AsyncMaestro) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(client.wait, "t")
            assert await anyio.to_thread.run_sync(waiting.asked.wait, 20)
            group.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(waiting.gone.acquire, True, 20)

    runs(backend, work)


@both
def test_a_cancelled_call_that_still_looks_for_its_server_sends_nothing(home: Path, backend: str) -> None:
    """The server listens, and greets only when the client has gone."""
    server = Scripted(home / "daemon.sock")
    may_greet, dialled = threading.Event(), threading.Event()
    greet = server.greeting

    class Late(list[msgspec.Struct | None]):
        def __bool__(self) -> bool:
            dialled.set()
            may_greet.wait(20)
            return False

    server.greetings = Late()

    async def work(client: AsyncMaestro) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(client.dispatch, "x", "a")
            assert await anyio.to_thread.run_sync(dialled.wait, 20)
            group.cancel_scope.cancel()
        may_greet.set()

    runs(backend, work)
    server.close()
    assert greet is not None and not server.commands


@both
def test_no_thread_is_held_while_calls_wait(home: Path, backend: str) -> None:
    """More calls wait at once than anyio has threads for, and a large prompt goes through beside them."""
    server = _Patient(home / "daemon.sock")

    async def work(client: AsyncMaestro) -> None:
        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(client.wait, str(number))
            while len(server.commands) < 60:
                await anyio.sleep(0.01)
            assert await client.dispatch("x" * 3_000_000, "a") == {"bytes": 3_000_000}
            server.may_end.set()

    runs(backend, work)
    server.close()


class _Patient(Scripted):
    """A server that serves many at once, and answers those that wait when it may."""

    def __init__(self, path: Path) -> None:
        self.may_end = threading.Event()
        super().__init__(path)
        self.script = self._answer

    def _answer(self, command: p.Command) -> list[msgspec.Struct]:
        if isinstance(command, p.TaskDispatch):
            return [p.Done({"bytes": len(command.prompt)})]
        self.may_end.wait(20)
        return [p.Done({})]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=(sock,), daemon=True).start()

    def _serve_one(self, sock: object) -> None:
        with sock:  # type: ignore[attr-defined]
            self._serve(sock)  # type: ignore[arg-type]


def test_inside_a_run_what_people_do_is_refused_before_it_is_sent(
    daemon: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAESTRO_RUN_SOCKET", str(Path(os.environ["MAESTRO_HOME"]) / "daemon.sock"))
    daemon.answers(p.Done({"key": "k", "value": "v"}))
    assert connect().state.get("k") == "v"
    with pytest.raises(errors.Refused, match="inside a run"):
        connect().cancel("t")


def test_an_altered_log_is_an_error_behind_its_last_good_event(daemon: Scripted) -> None:
    daemon.answers(p.Item({"seq": 1}), p.Done(exit_code=6))
    events = connect().events()
    assert next(events) == {"seq": 1}
    with pytest.raises(errors.VerificationFailed):
        next(events)
    with pytest.raises(errors.Invalid):
        next(connect().events(after=-1))


def test_the_package_has_nothing_else_to_import() -> None:
    with pytest.raises(AttributeError):
        maestro.nothing  # type: ignore[attr-defined]  # noqa: B018
