"""A collector of traces: spans encoded by the libraries of OpenTelemetry, and sent by OTLP over HTTP as protobuf.

Encoded by `opentelemetry-sdk`, but sent by httpx, which runs on trio: a request can be given up as a whole, however a
collector drips its answer, and its answer is heard (`partial_success`, `Retry-After`), which the exporter of the SDK
passes over. Of the environment variables of OpenTelemetry those of headers and of the certificate are honoured.
"""

from __future__ import annotations

import importlib.metadata
import os
import ssl
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from maestro.model.errors import Invalid, MaestroError
from maestro.model.tracing import conventions as c
from maestro.model.tracing.span import Span

if TYPE_CHECKING:
    import httpx
    from opentelemetry.sdk.trace import ReadableSpan

PATH = "/v1/traces"
REQUEST_S_MAX = 10.0
ANSWER_BYTES_MAX = 64 * 1024
RETRY_S_MAX = 300.0
RETRIED = (429, 502, 503, 504)
REFUSED = (400, 413, 422)
"""Statuses that a collector gives to what it will never take; all others may be mended where it runs."""
MS = 1_000_000  # in nanoseconds


class NotTaken(MaestroError):
    """A collector did not take spans. refused: nor would it take these spans another time; retry_s: when it asks for
    them again, None where it does not say.
    """

    def __init__(self, what: str, where: str, refused: bool = False, retry_s: float | None = None) -> None:
        super().__init__(what, where, "see to the collector; spans that are sent again have the same ids")
        self.refused = refused
        self.retry_s = retry_s


class Collector:
    """One collector. endpoint: where spans are sent to. rejected: how many of them it took and then declined."""

    def __init__(self, url: str, namespace: str) -> None:
        """Raises Invalid for what is no URL, and where the libraries are not installed."""
        self.endpoint = endpoint_of(url)
        self.rejected = 0
        self._namespace = namespace
        self._check()

    def _check(self) -> None:
        try:
            import opentelemetry.exporter.otlp.proto.common.trace_encoder
            import opentelemetry.sdk.trace  # noqa: F401 - whether they are there
        except ImportError as error:
            raise Invalid(
                f"traces need libraries that are not installed: {error.name}",
                "--otlp",
                f"install Maestro with its extra otlp, in its folder: {sys.executable} -m pip install '.[otlp]', or as "
                "it was installed: uv tool install --force '.[otlp]', pipx install --force '.[otlp]'",
            ) from None

    async def send(self, spans: Sequence[Span]) -> None:
        """Send spans. Raises NotTaken, soon after REQUEST_S_MAX at the latest, however the collector behaves."""
        import httpx

        body = self._encoded(spans)
        try:
            with trio.fail_after(REQUEST_S_MAX):
                async with httpx.AsyncClient(timeout=REQUEST_S_MAX, verify=_trust()) as client:
                    request = client.stream("POST", self.endpoint, content=body, headers=_headers())
                    async with request as response:
                        self._heard(response, await _answer(response))
        except trio.TooSlowError:
            raise NotTaken(f"no answer within {REQUEST_S_MAX:.0f} s", self.endpoint) from None
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise NotTaken(str(error) or type(error).__name__, self.endpoint) from None

    def _heard(self, response: httpx.Response, answer: bytes) -> None:
        status = response.status_code
        if status // 100 == 2:
            self.rejected += _rejected(answer)
            return
        asked = response.headers.get("retry-after", "").strip()
        retry_s = min(float(asked), RETRY_S_MAX) if asked.isascii() and asked.isdigit() else None
        where = f" to {response.headers['location']!a}" if response.is_redirect else ""
        raise NotTaken(f"it answers {status}{where}", self.endpoint, status in REFUSED, retry_s)

    def _encoded(self, spans: Sequence[Span]) -> bytes:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        made: bytes = encode_spans(_readable(spans, self._namespace)).SerializeToString()
        return made


def endpoint_of(url: str) -> str:
    """Where a collector takes traces. url: its base, as OTEL_EXPORTER_OTLP_ENDPOINT has it, or that of its traces."""
    try:
        parts = urlsplit(url)
        port_is_sound = parts.port != 0
    except ValueError:
        parts, port_is_sound = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_sound or not url.isprintable():
        raise Invalid(f"{url!a} is no URL of a collector", "--otlp", "use http://HOST:4318, or https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise Invalid("the URL has a password in it", "--otlp", "put it into OTEL_EXPORTER_OTLP_HEADERS")
    if parts.query or parts.fragment:
        raise Invalid(f"{url!a} has more than a path", "--otlp", "use http://HOST:4318, or https://HOST/PATH")
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith(PATH) else path + PATH).geturl()


def _headers() -> dict[str, str]:
    """The headers of a request: what it is, and those of the environment, which may hold a token."""
    from opentelemetry.util.re import parse_env_headers

    names = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
    given = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return {**parse_env_headers(given, liberal=True), "content-type": "application/x-protobuf"}


def _trust() -> ssl.SSLContext | bool:
    """Whom to trust: the authorities that the environment names, else the usual ones."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE")
    file = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return ssl.create_default_context(cafile=file) if file else True


async def _answer(response: httpx.Response) -> bytes:
    """The body of an answer, as far as it can be one."""
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            break
    return body


def _rejected(answer: bytes) -> int:
    """How many of the spans a collector took and declined; they are not to be sent again."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
    except DecodeError:
        return 0  # some answer with JSON, or words


def _readable(spans: Sequence[Span], namespace: str) -> list[ReadableSpan]:
    """Spans as the SDK has them."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
    from opentelemetry.trace.status import Status, StatusCode

    version = importlib.metadata.version("maestro-orchestrator")
    about = {c.SERVICE_NAME: "maestro", c.SERVICE_NAMESPACE: namespace, c.SERVICE_VERSION: version}
    resource = Resource(about, c.SCHEMA_URL)
    scope = InstrumentationScope(c.SCOPE, version, c.SCHEMA_URL)

    def context(span: Span, id: str) -> Any:
        return SpanContext(int(span.trace, 16), int(id, 16), False, TraceFlags(TraceFlags.SAMPLED))

    return [
        ReadableSpan(
            name=span.name,
            context=context(span, span.id),
            parent=context(span, span.parent) if span.parent else None,
            resource=resource,
            attributes=span.attributes,
            events=[Event(mark.name, mark.attributes, mark.at * MS) for mark in span.marks],
            kind=SpanKind.INTERNAL,
            instrumentation_scope=scope,
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=span.start * MS,
            end_time=span.end * MS,
        )
        for span in spans
    ]
