"""The output of an agent on its way into `agent.log`: redacted, traced, its tail kept. Standard library only.

Everything works on chunks as they come and holds back no more than the longest secret, so a flood of output without
a newline costs a warden no more memory than a line of it.
"""

from __future__ import annotations

import binascii
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from maestro.runtime.supervision.capped_log import CappedLog
from maestro.runtime.supervision.mended_file import OutFile

CHUNK_BYTES = 64 * 1024
_LAST_CHUNKS_MAX = 64
_REDACTED = b"[redacted]"
_BASE64_BYTES_MIN = 6  # shorter secrets would be found by chance in any base64


class Redactor:
    """A filter that replaces secrets in a stream of chunks, also as base64, inside JSON, and across chunks.

    Of secrets that begin alike, or lie in one another, the longest that is there counts.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        forms: set[bytes] = set()
        for secret in secrets:
            plain = os.fsencode(secret)
            if plain:
                forms |= {plain, *_base64_forms(plain), json.dumps(secret)[1:-1].encode()}
                forms.add(os.fsencode(json.dumps(secret, ensure_ascii=False)[1:-1]))
        self._forms = sorted(forms, key=len, reverse=True)
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """The part of the stream in which no secret can go on, redacted; the rest is held back."""
        if not self._forms:
            return chunk
        text = self._held + chunk
        certain = len(text) - max(_begun(text, form) for form in self._forms)
        passed, at = self._replaced(text, certain)
        certain = max(at, certain)
        self._held = text[certain:]
        return passed + text[at:certain]

    def flush(self) -> bytes:
        """What is held back, redacted, at the end of the stream."""
        rest, self._held = self._held, b""
        passed, at = self._replaced(rest, len(rest))
        return passed + rest[at:]

    def _replaced(self, text: bytes, certain: int) -> tuple[bytes, int]:
        """`text` up to the end of the last secret that begins before `certain`, and where that is."""
        passed, at = [], 0
        nexts = {form: text.find(form) for form in self._forms}
        while found := [(start, -len(form)) for form, start in nexts.items() if 0 <= start < certain]:
            start, size = min(found)
            passed += [text[at:start], _REDACTED]
            at = start - size
            for form, following in nexts.items():
                if 0 <= following < at:
                    nexts[form] = text.find(form, at)
        return b"".join(passed), at


def _begun(text: bytes, form: bytes) -> int:
    """How many bytes at the end of `text` may be the beginning of `form`."""
    at = text.find(form[:1], max(0, len(text) - len(form) + 1))
    while at >= 0:
        if form.startswith(text[at:]):
            return len(text) - at
        at = text.find(form[:1], at + 1)
    return 0


def _base64_forms(secret: bytes) -> set[bytes]:
    """The secret as it looks inside base64, at each of the three alignments, without what its neighbours change."""
    if len(secret) < _BASE64_BYTES_MIN:
        return set()
    forms = set()
    for offset in range(3):
        text = binascii.b2a_base64(b"\0" * offset + secret, newline=False).rstrip(b"=")
        whole = (offset + len(secret)) * 8 // 6
        inner = text[(0, 2, 3)[offset] : whole]
        forms |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return forms


class Tracer:
    """A filter that puts `TRACE: [timestamp] <label>: ` before each line of a stream."""

    def __init__(self, label: str) -> None:
        self._label = label.encode(errors="replace").replace(b"\n", b" ")
        self._at_line_start = True

    def feed(self, chunk: bytes) -> bytes:
        """The chunk with the prefix before each line that begins in it."""
        if not chunk:
            return chunk
        prefix = b"TRACE: [%s] %s: " % (_timestamp(), self._label)
        body, last = (chunk[:-1], b"\n") if chunk.endswith(b"\n") else (chunk, b"")
        text = body.replace(b"\n", b"\n" + prefix) + last
        if self._at_line_start:
            text = prefix + text
        self._at_line_start = bool(last)
        return text


def _timestamp() -> bytes:
    """The time now, RFC 3339 in UTC with milliseconds."""
    now = time.time()
    return b"%s.%03dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)).encode(), int(now * 1000) % 1000)


class Tail:
    """The last `size` bytes of a stream, in at most twice the memory."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bytes = bytearray()

    def feed(self, chunk: bytes) -> None:
        self._bytes += chunk[-self._size :]
        if len(self._bytes) > 2 * self._size:
            del self._bytes[: -self._size]

    def value(self) -> bytes:
        return bytes(self._bytes[-self._size :])


class Ends:
    """The first and the last `size` bytes of a stream."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._first = b""
        self._rest = Tail(size)
        self._left_out = -size

    def feed(self, chunk: bytes) -> None:
        room = self._size - len(self._first)
        self._first += chunk[:room]
        self._rest.feed(chunk[room:])
        self._left_out += len(chunk[room:])

    def value(self) -> bytes:
        gap = b"\n[maestro: %d bytes left out]\n" % self._left_out if self._left_out > 0 else b""
        return self._first + gap + self._rest.value()


class Copy:
    """A copy of a stream in a file, up to `bytes_max`; made with the first byte. A full disk ends it early."""

    def __init__(self, path: str, bytes_max: int) -> None:
        self._path = path
        self._room = bytes_max
        self._file: OutFile | None = None

    def feed(self, chunk: bytes) -> None:
        text = chunk[: self._room]
        if not text:
            return
        try:
            if self._file is None:
                self._file = OutFile(self._path)
            self._room -= len(text)
            while text:
                text = text[self._file.write(text) :]
        except OSError:
            self._room = 0

    def mend(self) -> None:
        """Make the file again, whole, where somebody removed it."""
        with suppress(OSError):
            if self._file is not None:
                self._file.mend()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Sink(Protocol):
    """A sink keeps a part of a stream."""

    def feed(self, chunk: bytes) -> None: ...


class Stream:
    """One pipe from the agent: its chunks go, redacted, to the sinks, and traced as well to the log.

    fd: the reading end. label: of the trace, None for no trace. open: until the end of the stream. bytes: how many
    came; kept: how many were passed on.
    """

    def __init__(
        self, fd: int, log: CappedLog, redact: Sequence[str], sinks: Sequence[Sink] = (), label: str | None = None
    ) -> None:
        self.fd = fd
        self._log = log
        self._redactor = Redactor(redact)
        self._sinks = sinks
        self._tracer = None if label is None else Tracer(label)
        self.bytes = self.kept = 0
        self.open = True
        os.set_blocking(fd, False)

    def drain(self) -> bool:
        """Take one chunk; False when there is none now. Closes the stream at its end."""
        try:
            chunk = os.read(self.fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        self.bytes += len(chunk)
        if chunk:
            self._pass_on(self._redactor.feed(chunk))
            return True
        self.close()
        return False

    def finish(self) -> None:
        """Take what the dead processes of a run left in the pipe; more than it holds is not waited for."""
        for _ in range(_LAST_CHUNKS_MAX):
            if not (self.open and self.drain()):
                break
        self.close()

    def close(self) -> None:
        """Pass on what is held back, and close the pipe. Doing it again is harmless."""
        if self.open:
            self.open = False
            self._pass_on(self._redactor.flush())
            os.close(self.fd)

    def _pass_on(self, text: bytes) -> None:
        self.kept += len(text)
        for sink in self._sinks:
            sink.feed(text)
        self._log.write(text if self._tracer is None else self._tracer.feed(text))
