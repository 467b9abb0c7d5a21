"""Frames on a socket: 4 bytes of length, big-endian, then msgpack. No I/O except in `send` and `bodies`.

The command line uses them on a blocking socket, the server on a trio stream; both share the framing.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator

import msgspec

from maestro.model.errors import Invalid
from maestro.runtime.protocol.messages import FRAME_BYTES_MAX as MAX_FRAME

_HEADER_BYTES = 4
_encoder = msgspec.msgpack.Encoder()


def frame(message: msgspec.Struct) -> bytes:
    """A message as a frame, with its length before it.

    Raises Invalid for a text that is not UTF-8 (such as an undecodable argument), and for a message above the limit.
    """
    try:
        body = _encoder.encode(message)
    except UnicodeEncodeError as error:
        shown = error.object[:80].encode("utf-8", "backslashreplace").decode()
        raise Invalid(f"not valid UTF-8: {shown!r}", mend="give text in UTF-8") from None
    if len(body) > MAX_FRAME:
        raise Invalid(f"a message of {len(body)} bytes is above the limit of {MAX_FRAME}", mend="give less at a time")
    return len(body).to_bytes(_HEADER_BYTES, "big") + body


def send(sock: socket.socket, message: msgspec.Struct) -> None:
    """Send one message. Raises as `frame`, and OSError where the other end has closed."""
    sock.sendall(frame(message))


class Unframer:
    """Assembles the bodies of frames from received bytes."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add received bytes; yields the bodies that are complete now. Raises Invalid for a frame above the limit."""
        self._pending += data
        while len(self._pending) >= _HEADER_BYTES:
            size = int.from_bytes(self._pending[:_HEADER_BYTES], "big")
            if size > MAX_FRAME:
                raise Invalid(f"a message of {size} bytes is above the limit of {MAX_FRAME}")
            if len(self._pending) < _HEADER_BYTES + size:
                return
            body = bytes(self._pending[_HEADER_BYTES : _HEADER_BYTES + size])
            del self._pending[: _HEADER_BYTES + size]
            yield body


class Silence(TimeoutError):
    """The other end has sent nothing for as long as the socket's timeout is: no TimeoutError of a signal handler."""


def bodies(sock: socket.socket, patient: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
    """The bodies of arriving frames, until the other end closes. Raises as `Unframer.feed`, and OSError.

    patient: whether to wait on where the socket's timeout passes, rather than raise Silence. What a program's handler
    of signals raises meanwhile ends the wait, whatever it is.
    """
    unframer = Unframer()
    arriving = select.poll()
    arriving.register(sock, select.POLLIN)
    while True:
        waits_s = sock.gettimeout()
        if not arriving.poll(None if waits_s is None else waits_s * 1000):
            if not patient():
                raise Silence("timed out")
            continue
        data = sock.recv(256 * 1024)
        if not data:
            return
        yield from unframer.feed(data)
