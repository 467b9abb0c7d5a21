"""The exporter: who may have the metrics, in which forms, and what does not hold it up."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import NamedTuple

import pytest
import trio
import trio.testing

from maestro.metrics import METRICS, OTHER
from maestro.model.errors import Invalid
from maestro.model.monitoring.totals import QUEUE_WAIT_MS
from maestro.monitor import exporter
from maestro.monitor.exporter import Server, Told, Values, family, listen
from maestro.runtime.client.answers import Answer
from maestro.runtime.protocol import messages as p

TOKEN = "a-token-of-twenty-4"
FIGURES: dict[str, Values] = {"maestro_daemon_up": [([], 1)], "maestro_tasks_total": [(["ok"], 7), (["exit"], 2)]}


class Place(NamedTuple):
    """Where metrics are served."""

    metrics_port: int | None
    metrics_host: str = "127.0.0.1"


def figures() -> dict[str, Values]:
    """What a daemon may tell."""
    return FIGURES


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def begin(token: str | None = None, host: str = "127.0.0.1") -> Server:
        servers.append(listen(Place(0, host), token, figures))
        servers[-1].begin()
        return servers[-1]

    yield begin
    for server in servers:
        server.end()


def get(server: Server, path: str = "/metrics", method: str = "GET", **headers: str) -> HTTPResponse:
    """An answer, read to its end."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.text = answer.read()  # type: ignore[attr-defined]
    return answer


def test_metrics_come_as_text_compressed_and_as_openmetrics(serve: Serve) -> None:
    server = serve()
    plain = get(server)
    assert (plain.status, plain.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b'maestro_tasks_total{outcome="exit"} 2.0\n' in plain.text  # type: ignore[attr-defined]
    packed = get(server, Accept_Encoding="gzip")
    assert gzip.decompress(packed.text) == plain.text  # type: ignore[attr-defined]
    modern = get(server, Accept="application/openmetrics-text; version=1.0.0")
    assert modern.headers["Content-Type"].startswith("application/openmetrics-text")
    assert modern.text.endswith(b"# EOF\n")  # type: ignore[attr-defined]


def test_whoever_has_no_token_gets_nothing(serve: Serve) -> None:
    server = serve(TOKEN)
    for sent in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}):
        refused = get(server, **sent)
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="maestro"')
        assert b"maestro_" not in refused.text and TOKEN.encode() not in refused.text  # type: ignore[attr-defined]
    assert get(server, "/elsewhere").status == 401
    assert get(server, Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_beyond_loopback_a_token_is_needed(serve: Serve, host: str) -> None:
    with pytest.raises(Invalid, match="only to who has a token") as refused:
        serve(None, host)
    assert refused.value.exit_code == 2 and "MAESTRO_METRICS_TOKEN" in refused.value.line()
    if host == "0.0.0.0":
        assert get(serve(TOKEN, host), Authorization=f"Bearer {TOKEN}").status == 200


def test_a_port_that_is_taken_and_an_address_that_is_not_here_are_told_in_one_line(serve: Serve) -> None:
    server = serve()
    for place in (Place(server.port), Place(0, "192.0.2.1"), Place(0, "no such host"), Place(99999)):
        with pytest.raises(Invalid) as refused:
            listen(place, TOKEN, figures)
        assert refused.value.exit_code == 2 and "\n" not in refused.value.line() and refused.value.mend


def test_only_one_path_and_only_reading(serve: Serve) -> None:
    server = serve()
    assert get(server, "/").status == 404
    assert get(server, method="POST").status == 405
    assert "Access-Control-Allow-Origin" not in get(server, Origin="https://example.org").headers


def test_scrapers_that_hang_hold_up_nobody_and_are_not_let_in_without_end(serve: Serve) -> None:
    server = serve()
    hanging = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(exporter.SCRAPES_MAX - 1)]
    for one in hanging:
        one.sendall(b"GET /metrics HTTP/1.0\r\n")
    assert get(server).status == 200
    more = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    assert b"" in [one.recv(1) for one in more[1:]]
    for one in (*hanging, *more):
        one.close()


def test_a_daemon_that_is_silent_is_waited_for_by_one_scrape_and_asked_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporter, "ANSWER_S_MAX", 0.05)
    monkeypatch.setattr(exporter, "PROBE_S", 0.0)
    asked: list[p.Command] = []
    answers = trio.Event()

    class Silent:
        async def ask(self, command: p.Command, start: bool = False) -> Answer:
            asked.append(command)
            await answers.wait()
            return Answer([], {})

    async def story() -> None:
        told = Told(Silent())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told.run)
            assert await told.figures() == exporter.DOWN
            for _ in range(20):
                assert await told.figures() == exporter.DOWN
            await trio.testing.wait_all_tasks_blocked()
            assert len(asked) == 2  # by the first scrape, and by who waits until it is back
            answers.set()
            await trio.testing.wait_all_tasks_blocked()
            assert (await told.figures())["maestro_daemon_up"] == [([], 1)]
            nursery.cancel_scope.cancel()

    trio.run(story)


def test_a_label_is_one_of_those_declared_or_other() -> None:
    made = family("maestro_restores_total", METRICS["maestro_restores_total"], [(["done"], 3), (["x"], 1), (["y"], 4)])
    assert {(one.labels["result"], one.value) for one in made.samples} == {("done", 3), ("failed", 0), (OTHER, 5)}


def test_a_histogram_is_cumulative_in_the_unit_of_its_name() -> None:
    counts = [0] * (len(QUEUE_WAIT_MS) + 1)
    counts[0], counts[4], counts[-1] = 2, 1, 1
    name = "maestro_queue_wait_seconds"
    made = family(name, METRICS[name], [([], [counts, 20_000_500])])
    found = {one.labels.get("le", one.name): one.value for one in made.samples}
    assert (found["0.01"], found["0.5"], found["1.0"], found["14400.0"], found["+Inf"]) == (2, 2, 3, 3, 4)
    assert (found[f"{name}_count"], found[f"{name}_sum"]) == (4, 20_000.5)
    empty = family(name, METRICS[name], [([], [[], 0])])
    assert {one.value for one in empty.samples} == {0}
