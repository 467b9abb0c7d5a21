"""The exporter: serves the metrics (`maestro/metrics.py`) to Prometheus by HTTP, as this node's daemon tells them.

It never starts a daemon: one that was shut down stays so, and is told as `maestro_daemon_up 0`. Each scrape is a
thread, as prometheus-client is blocking; a scraper that hangs holds up nobody else.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import trio
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric as Family,
)
from prometheus_client.registry import Collector

from maestro.metrics import METRICS, OTHER, Metric
from maestro.model.errors import Invalid, MaestroError
from maestro.monitor.daemon_link import DaemonLink
from maestro.runtime.client.answers import Answer
from maestro.runtime.protocol import messages as p

PATH = "/metrics"
ANSWER_S_MAX = 3.0
"""How long the daemon may take to answer a scrape: less than the 10 s after which Prometheus gives up by itself."""
PROBE_S = 1.0
"""So long after it has not answered a silent daemon is asked again."""
CLIENT_S_MAX = 10.0
"""How long a scraper may take to send its request, or to take its answer."""
SCRAPES_MAX = 16
"""How many scrapes there may be at once; a further connection is closed."""

log = logging.getLogger("maestro")


class Place(Protocol):
    """Where metrics are served: what the options of a monitor say. metrics_port: None for nowhere."""

    @property
    def metrics_host(self) -> str: ...
    @property
    def metrics_port(self) -> int | None: ...


class Link(Protocol):
    """The link to a daemon, as `DaemonLink` is one."""

    async def ask(self, command: p.Command, start: bool = False) -> Answer: ...


Values = Sequence[tuple[Sequence[str], Any]]
DOWN: dict[str, Values] = {"maestro_daemon_up": [([], 0)]}
Respond = Callable[[str, list[tuple[str, str]]], Any]


async def serve(
    options: Place, link: DaemonLink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve the metrics for ever, where `options` say so. Raises Invalid where that cannot be: see `listen`."""
    if options.metrics_port is None:
        task_status.started()
        return
    told = Told(DaemonLink(link.settings))  # where the daemon hangs, scrapes fill it up: looks go on by theirs
    token = trio.lowlevel.current_trio_token()

    def ask() -> dict[str, Values]:
        found: dict[str, Values] = trio.from_thread.run(told.figures, trio_token=token)
        return found

    server = await trio.to_thread.run_sync(listen, options, link.settings.metrics_token, ask)
    try:
        server.begin()
        log.info("metrics are at http://%s:%d%s", options.metrics_host, server.port, PATH)
        task_status.started()
        await told.run()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(server.end)


class Told:
    """What the daemon of this node tells. While it is silent scrapes do not wait for it; `run` finds when it is back.

    link: to the daemon, for nothing else.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._silent = False
        self._fell_silent = trio.Event()

    async def figures(self) -> dict[str, Values]:
        """The values of all metrics; but one where no daemon runs, or it does not answer."""
        if not self._silent:
            with trio.move_on_after(ANSWER_S_MAX) as wait:
                return await self._ask()
            if wait.cancelled_caught:
                self._silent = True
                self._fell_silent.set()
        return DOWN

    async def run(self) -> None:
        """Ask a daemon that is silent until it answers, or is no more, for ever."""
        while True:
            await self._fell_silent.wait()
            began = trio.current_time()
            found = await self._ask()
            if found is not DOWN or trio.current_time() - began < ANSWER_S_MAX:
                self._silent, self._fell_silent = False, trio.Event()
            else:
                await trio.sleep(PROBE_S)

    async def _ask(self) -> dict[str, Values]:
        try:
            told: dict[str, Values] = (await self._link.ask(p.MonitorFigures())).data
            return {"maestro_daemon_up": [([], 1)], **told}
        except MaestroError as error:
            log.debug("metrics: %s", error.line())
        return DOWN


def listen(options: Place, token: str | None, ask: Callable[[], dict[str, Values]]) -> Server:
    """Listen where `options` say, and serve nothing yet. ask: the values of all metrics, for each scrape.

    Raises Invalid where the address may not be served without a token, or cannot be had.
    """
    host, port = options.metrics_host, options.metrics_port or 0
    where = f"{'[' + host + ']' if ':' in host else host}:{port}"
    if not 0 <= port < 65536:
        raise Invalid(f"metrics cannot be served: there is no port {port}", where, "name another with --metrics-port")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise Invalid(f"metrics cannot be served: {error}", where, "name an address of this host") from None
    if token is None and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        what = "metrics are served beyond this host only to who has a token"
        raise Invalid(what, where, "set MAESTRO_METRICS_TOKEN, or leave --metrics-host out")
    try:
        return Server(family, address[:2], _application(token, ask))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Invalid(f"metrics cannot be served: {reason}", where, "name another with --metrics-port") from None


class Server(ThreadingMixIn, WSGIServer):
    """The server of one exporter, which listens from the start. port: where."""

    daemon_threads = True
    request_queue_size = 2 * SCRAPES_MAX

    def __init__(self, family: int, address: Sequence[Any], application: Callable[..., Iterable[bytes]]) -> None:
        self.address_family = family
        self._serving = False
        self._free = threading.BoundedSemaphore(SCRAPES_MAX)
        super().__init__((str(address[0]), int(address[1])), _Request)
        self.set_app(application)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.socket.getsockname()[1])

    def server_bind(self) -> None:
        """Bind without asking a resolver for the host's name, as that may take its time."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.port
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection, in a thread; close it where too many are there."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as its base has it
        """Note it: a scraper that goes away is no error of ours."""
        log.debug("a scrape from %s was broken off", client_address, exc_info=True)

    def begin(self) -> None:
        """Serve, in threads."""
        self._serving = True
        threading.Thread(target=self.serve_forever, args=(0.1,), name="maestro-metrics", daemon=True).start()

    def end(self) -> None:
        """Listen no more; scrapes that are under way are left to themselves."""
        if self._serving:
            self.shutdown()
        self.server_close()


class _Request(WSGIRequestHandler):
    timeout = CLIENT_S_MAX

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def _application(token: str | None, ask: Callable[[], dict[str, Values]]) -> Callable[..., Iterable[bytes]]:
    """What answers requests: metrics at one path, to who has the token."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(ask))
    metrics = make_wsgi_app(registry)
    wanted = None if token is None else f"Bearer {token}".encode()

    def application(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        sent = str(environ.get("HTTP_AUTHORIZATION", "")).encode("latin-1", "replace")
        if wanted is not None and not hmac.compare_digest(sent, wanted):
            return _refuse(respond, "401 Unauthorized", "send MAESTRO_METRICS_TOKEN as a bearer token\n", True)
        if environ.get("PATH_INFO") != PATH:
            return _refuse(respond, "404 Not Found", f"the metrics are at {PATH}\n")
        found: Iterable[bytes] = metrics(environ, respond)
        return found

    return application


def _refuse(respond: Respond, status: str, text: str, ask_token: bool = False) -> Iterable[bytes]:
    headers = [("Content-Type", "text/plain; charset=utf-8")]
    respond(status, [*headers, ("WWW-Authenticate", 'Bearer realm="maestro"')] if ask_token else headers)
    return [text.encode()]


class _Figures(Collector):
    """All metrics that can be told now."""

    def __init__(self, ask: Callable[[], dict[str, Values]]) -> None:
        self._ask = ask

    def collect(self) -> Iterator[Family]:
        values = self._ask()
        for name, metric in METRICS.items():
            if name in values:
                yield family(name, metric, values[name])


def family(name: str, metric: Metric, values: Values) -> Family:
    """A metric with its values, as prometheus-client has it. Of a label that is bounded all values are told, so that
    nothing begins to be there with its first increase.
    """
    labels = [metric.label] if metric.label else []
    if metric.kind == "histogram":
        counts, total = values[0][1]
        return HistogramMetricFamily(name, metric.help, _buckets(metric, counts), total / metric.scale)
    found: dict[tuple[str, ...], float] = {(value,): 0 for value in metric.values}
    for of, value in values:
        known = not metric.values or of[0] in metric.values
        key = tuple(of) if known else (OTHER,)
        found[key] = found.get(key, 0) + value if not known else value
    made = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(name, metric.help, labels=labels)
    for of, value in found.items():
        made.add_metric(list(of), value)
    return made


def _buckets(metric: Metric, counts: Sequence[int]) -> list[tuple[str, float]]:
    """The buckets, each with how many values are at most its bound."""
    bounds = [*(repr(bound / metric.scale) for bound in metric.bounds), "+Inf"]
    found, sum_ = [], 0
    for bound, count in zip(bounds, counts or [0] * len(bounds), strict=True):
        sum_ += count
        found.append((bound, float(sum_)))
    return found
