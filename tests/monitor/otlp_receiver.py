"""A collector of traces for tests: takes OTLP over HTTP, decodes it, and behaves as badly as it is told."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


class Receiver:
    """A collector on a port of its own. spans: what it took, in order; requests: how many were made; faults: how it
    answers the next ones: a status, `hang`, `drip`, `reset`, `decline`, or (status, headers).
    """

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.requests = 0
        self.headers: dict[str, str] = {}
        self.schema_urls: set[str] = set()
        self.faults: list[Any] = []
        self.ended = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.requests += 1
        body = handler.rfile.read(int(handler.headers["content-length"]))
        fault = self.faults.pop(0) if self.faults else None
        if fault == "hang":
            self.ended.wait(60)
            return
        if fault == "reset":
            handler.connection.close()
            return
        if fault == "drip":
            handler.send_response(200)
            handler.end_headers()
            while not self.ended.is_set():
                try:
                    handler.wfile.write(b"\0")
                    handler.wfile.flush()
                except OSError:
                    return
                time.sleep(0.05)
            return
        if isinstance(fault, (int, tuple)):
            status, headers = fault if isinstance(fault, tuple) else (fault, {})
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.send_header("content-length", "0")
            handler.end_headers()
            return
        assert handler.path == "/v1/traces" and handler.headers["content-type"] == "application/x-protobuf"
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        taken = self._take(body)
        answer = ExportTraceServiceResponse()
        if fault == "decline":
            answer = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=taken))
        data = answer.SerializeToString()
        handler.send_response(200)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def _take(self, body: bytes) -> int:
        count = 0
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for of_scope in of_resource.scope_spans:
                self.schema_urls |= {of_resource.schema_url, of_scope.schema_url}
                for span in of_scope.spans:
                    count += 1
                    self.spans.append(
                        {
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "name": span.name,
                            "start": span.start_time_unix_nano,
                            "end": span.end_time_unix_nano,
                            "error": span.status.message if span.status.code == 2 else "",
                            "resource": _attributes(of_resource.resource.attributes),
                            "events": [event.name for event in span.events],
                            **_attributes(span.attributes),
                        }
                    )
        return count
