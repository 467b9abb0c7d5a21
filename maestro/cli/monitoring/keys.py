"""The keys that a person presses, from the bytes that a terminal sends for them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

_SEQUENCES = {
    b"[A": "up", b"OA": "up", b"[B": "down", b"OB": "down", b"[C": "right", b"OC": "right", b"[D": "left",
    b"OD": "left", b"[H": "home", b"OH": "home", b"[1~": "home", b"[F": "end", b"OF": "end", b"[4~": "end",
    b"[5~": "page up", b"[6~": "page down", b"[Z": "back tab",
}  # fmt: skip
_SINGLE = {
    b"\t": "tab", b"\r": "enter", b"\n": "enter", b"\x7f": "back", b"\x08": "back", b" ": "page down",
    b"\x02": "page up", b"\x06": "page down", b"\x0c": "redraw",
}  # fmt: skip
PENDING_MAX = 16
"""No sequence that means a key is longer: what goes on for longer is dropped."""


class Keys:
    """Keys as they come. A sequence may come in several pieces; what is no key is dropped, and never taken for one."""

    def __init__(self) -> None:
        self._held = b""

    @property
    def waits(self) -> bool:
        """Whether it takes more bytes, or a moment without any, to tell what was pressed."""
        return bool(self._held)

    def feed(self, data: bytes, final: bool = False) -> Iterator[str]:
        """The keys in these bytes. final: no more follow for now, so that an escape is the key of that name."""
        data, self._held = self._held + data, b""
        at = 0
        while at < len(data):
            if data[at : at + 1] != b"\x1b":
                one = data[at : at + 1]
                at += 1
                if one in _SINGLE:
                    yield _SINGLE[one]
                elif 0x20 < one[0] < 0x7F:
                    yield one.decode()
                continue
            end = _end(data, at)
            if end is None:
                if final or len(data) - at > PENDING_MAX:
                    if len(data) - at == 1:
                        yield "escape"
                    return
                self._held = data[at:]
                return
            if key := _SEQUENCES.get(data[at + 1 : end]):
                yield key
            elif end == at + 1:
                yield "escape"
            at = end


def _end(data: bytes, at: int) -> int | None:
    """Where the sequence that begins at an escape ends; None where that has not come."""
    if len(data) - at < 2:
        return None
    kind = data[at + 1 : at + 2]
    if kind == b"O":
        return at + 3 if len(data) - at >= 3 else None
    if kind == b"[":
        for end in range(at + 2, len(data)):
            if 0x40 <= data[end] <= 0x7E:
                return end + 1
        return None
    return at + 1 if kind == b"\x1b" else at + 2
