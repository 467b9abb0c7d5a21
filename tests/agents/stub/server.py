"""A model stub of our own: a small HTTP server on loopback that speaks the APIs of OpenAI, Anthropic and Gemini.

It is scripted by directives in the prompt (`script`), so that one server serves every agent and every test at once.
Agents need its `url` and any key; what they asked is in `requests`.
"""

from __future__ import annotations

import gzip
import itertools
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import msgspec
import zstandard

from tests.agents.stub import chat, generate, messages, responses, script
from tests.agents.stub.conversation import Conversation, Reply

_APIS = {"/chat/completions": chat, "/responses": responses, "/messages": messages}
_JSON = "application/json"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came. headers: names in lower case; status: of the answer, 0 where it was dropped."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    status: int


class Stub:
    """The server. Use as a context manager; port 0 takes a free one."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.number = itertools.count(1)
        self.failures: Counter[str] = Counter()
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.stub = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:PORT`, what Anthropic's and Gemini's clients take."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT/v1`, what OpenAI's clients take."""
        return f"{self.origin}/v1"

    def texts(self) -> str:
        """All that agents sent, as JSON, to look for a string in it."""
        return json.dumps([request.body for request in list(self.requests)], ensure_ascii=False)

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    stub: Stub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An agent that was killed leaves a broken connection; all else is a fault of the stub."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """The list of models, which some clients ask for first."""
        found = self.path.partition("?")[0].endswith("/models")
        self._send(200 if found else 404, {"object": "list", "data": [{"id": "m", "object": "model"}]})

    def do_POST(self) -> None:
        """An answer of the model, by the script."""
        body = json.loads(self._body() or b"{}")
        path = urlsplit(self.path).path
        api, conversation = _read(path, body)
        if conversation is None:
            # Counting tokens and the like: not a request for an answer.
            self._note(body, 404)
            self._send(404, api.error(404))
            return
        stub = self.server.stub
        with stub.lock:
            number = next(stub.number)
            move = script.move(conversation, f"call_{number}", stub.failures)
        status = move.status or 200
        self._note(body, 0 if move.drop else status)
        if move.stall_s and stub.closing.wait(move.stall_s):
            return
        said = Reply(id=str(number), model=conversation.model, text=move.text, call=move.call, usage=move.usage)
        reply = msgspec.structs.replace(said, refused=move.refused)
        if status != 200:
            self._send(status, api.error(status))
        elif conversation.streaming:
            self._stream(api.frames(reply), move.drop)
        elif not move.drop:
            self._send(200, api.answer(reply))
        self.close_connection = self.close_connection or move.drop

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is in `requests`."""

    def _note(self, body: dict[str, Any], status: int) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method=self.command, path=self.path, headers=headers, body=body, status=status)
        self.server.stub.requests.append(request)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        encoding = self.headers.get("Content-Encoding", "")
        if encoding == "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
        return gzip.decompress(body) if encoding == "gzip" else body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", _JSON)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self._write(data)

    def _stream(self, frames: Iterator[str], drop: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for frame in itertools.islice(frames, 2 if drop else None):
            kind = json.loads(frame).get("type") if frame.startswith("{") else None
            self._write(f"{f'event: {kind}' + chr(10) if kind else ''}data: {frame}\n\n".encode())

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            # The agent has gone: it was stopped, or would not wait any longer.
            self.close_connection = True


def _read(path: str, body: dict[str, Any]) -> tuple[Any, Conversation | None]:
    """The API of an address, and the conversation; None for an address that wants no answer of a model."""
    model, _, method = path.rpartition("/")[2].partition(":")
    if method in {"generateContent", "streamGenerateContent"}:
        return generate, generate.read(body, model, method.startswith("stream"))
    for end, api in _APIS.items():
        if path.endswith(end):
            return api, api.read(body)
    return chat, None
