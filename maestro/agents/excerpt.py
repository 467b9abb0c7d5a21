"""The excerpt of a line of JSON that is too long to be kept: what the rules ask for, read as its bytes come.

What no path leads to is passed over byte by byte, so that an event which repeats a whole conversation costs no more
memory than what is wanted of it; that is bounded, too, and `is_cut` says where the bound was met. A library that reads
JSON in pieces (ijson) keeps each text whole, and one text may be all that was printed.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from maestro.agents.event_paths import Place
from maestro.agents.parts import Match, Matches
from maestro.agents.schema import Definition
from maestro.agents.usage import COSTS, USUAL

KEPT_BYTES_MAX = 1024 * 1024
_DEPTH_MAX = 200
_VALUE_BYTES = 64  # what a value takes besides its text
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_PASSED = re.compile(rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+', re.DOTALL)
_BLANK = re.compile(rb"[ \t\r\n,:]*+")
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]*+")
_NOTHING = object()


class Wanted:
    """What is wanted of a value: all of it, or what is at some parts of it. paths: each as its parts, () for all."""

    def __init__(self, paths: Iterable[tuple[str, ...]]) -> None:
        several = set(paths)
        self.all = () in several
        self._parts = {path[0] for path in several if path}
        self._paths = several
        self._below: dict[str, Wanted | None] = {}
        self.is_tail = bool(self._parts) and all(part.startswith("-") for part in self._parts) and not self.all
        """Whether of a list only its last values are wanted, so many."""
        self.tail = max((int(part[1:]) for part in self._parts if part[1:].isdigit()), default=1)
        self.last_index = max((int(part) for part in self._parts if part.isdigit()), default=-1)

    def below(self, part: str, is_index: bool = False) -> Wanted | None:
        """What is wanted of the value at one part; None for nothing."""
        if self.all:
            return self
        key = part if part in self._parts else "#" if is_index else "*"
        if key not in self._below:
            steps = {"*", part} | ({name for name in self._parts if name.startswith("-")} if is_index else set())
            rest = {path[1:] for path in self._paths if path and path[0] in steps}
            self._below[key] = Wanted(rest) if rest else None
        return self._below[key]


def wanted_by(definition: Definition) -> Wanted:
    """What the rules of a definition look at in events."""
    return Wanted(parts for path in _paths(definition) for parts in (Place(path).parts, (path,)))  # as a whole key, too


def _paths(definition: Definition) -> Iterator[str]:
    output, success = definition.output, definition.success
    matches = [success.final_event, success.fail_event, success.refused_event]
    matches += [match for text in output.texts for match in (text.match, text.after) if not isinstance(match, str)]
    matches += [usage.match for usage in output.usages]
    paths = [path for several in matches for match in _listed(several) for path in match]
    paths += [*output.session, *(text.path for text in output.texts)] if output.format != "text" else []
    for usage in output.usages:
        above = usage.path.rpartition(".")[0]
        named = [usage.input, usage.output, usage.cached, usage.cost, usage.id]
        paths += [one for path in named for one in ([path] if isinstance(path, str) else path) if one]
        paths += [usage.path] if usage.path else []
        paths += [
            f"{base}.{name}" if base else name
            for base in {above, ""}
            for name in (USUAL if base == usage.path else COSTS)
        ]
    yield from paths


def _listed(several: Matches | None) -> tuple[Match, ...]:
    return (several,) if isinstance(several, dict) else several or ()


class _Open:
    """A list or an object that is being read.

    key: of the value that comes next. count: of the values so far. held: the bytes that each of the last values counts
    for; mark: how many bytes were kept before the next one.
    """

    def __init__(self, value: Any, wanted: Wanted, mark: int) -> None:
        self.value = value
        self.wanted = wanted
        self.mark = mark
        self.key: str | None = None
        self.count = 0
        self.held: list[int] = []


class Excerpt:
    """Reads one value of JSON in pieces.

    size: its bytes so far; is_cut: more was wanted than is kept; has_failed: it is no JSON.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.size = 0
        self.is_cut = False
        self._root = wanted
        self._open: list[_Open] = []
        self._value: Any = _NOTHING
        self.has_failed = False
        self._passing = 0  # depth in what is passed over
        self._passed: Any = _NOTHING  # what is kept of that
        self._text: bytearray | None = None  # of the string that is being read, kept or not
        self._in_text = self._is_kept = self._after_backslash = False
        self._scalar = bytearray()
        self._kept = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self.size += len(data)
        at = 0
        while at < len(data) and not self.has_failed:
            if self._in_text:
                at = self._read_text(data, at)
            elif self._passing:
                at = self._pass_over(data, at)
            else:
                at = self._read(data, at)

    def events(self) -> list[dict[str, Any]] | None:
        """The object that it is, or those in the list that it is, as far as wanted; None where it is no whole value."""
        self._end_scalar()
        if self.has_failed or self._open or self._in_text or self._value is _NOTHING:
            return None
        several = self._value if isinstance(self._value, list) else [self._value]
        return [event for event in several if isinstance(event, dict)]

    # ---- the parts of JSON ----

    def _read(self, data: bytes, at: int) -> int:
        if self._scalar or data[at : at + 1] not in b' \t\r\n,:"{}[]':
            end = _end(_SCALAR, data, at)
            self._scalar += data[at : min(end, at + 400)]
            self.has_failed = len(self._scalar) > 400 or (end == at and not self._scalar)
            if end < len(data):
                self._end_scalar()
            return end
        at = _end(_BLANK, data, at)
        sign = data[at : at + 1]
        if sign == b'"':
            self._in_text, self._text, self._is_kept = True, bytearray(), self._is_key() or self._next() is not None
        elif sign in (b"{", b"["):
            self._begin({} if sign == b"{" else [])
        elif sign in (b"}", b"]"):
            self._end(dict if sign == b"}" else list)
        return at + 1 if sign and sign in b'"{}[]' else at

    def _read_text(self, data: bytes, at: int) -> int:
        assert self._text is not None
        if self._after_backslash:
            end, self._after_backslash = at + 1, False
        else:
            end = _end(_TEXT, data, at)
        if self._is_kept:
            self._text += data[at:end]
            if len(self._text) > 2 * KEPT_BYTES_MAX:
                del self._text[:-KEPT_BYTES_MAX]
                self.is_cut = True
        if end < len(data) and data[end : end + 1] == b"\\":
            self._after_backslash = True
            self._text += b"\\" if self._is_kept else b""
            return end + 1
        if end < len(data) and data[end : end + 1] == b'"':
            self._in_text = False
            if not self._passing:
                self._take_text(bytes(self._text))
            return end + 1
        return end

    def _pass_over(self, data: bytes, at: int) -> int:
        at = _end(_PASSED, data, at)
        sign = data[at : at + 1]
        if sign == b'"':
            self._in_text, self._text, self._is_kept = True, bytearray(), False
        elif sign:
            self._passing += 1 if sign in b"{[" else -1
            if not self._passing:
                value, self._passed = self._passed, _NOTHING
                self._put(value)
        return at + 1 if sign else at

    # ---- the values ----

    def _is_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    @property
    def _is_full(self) -> bool:
        """Whether nothing more is kept where it reads; of the event itself more is: what matches often comes last."""
        return self._kept > KEPT_BYTES_MAX * (1 if self._open[1:] else 2)

    def _next(self) -> Wanted | None:
        """What is wanted of the value that comes next."""
        if not self._open:
            return self._root
        above = self._open[-1]
        if self._is_full:
            self.is_cut = True
            return None
        if isinstance(above.value, dict):
            return above.wanted.below(above.key or "")
        if len(self._open) == 1 and not above.wanted.all:
            return self._root  # the events in a list
        return above.wanted.below(str(above.count), is_index=True)

    def _begin(self, value: Any) -> None:
        wanted = self._next()
        self.has_failed = self._is_key() or (not self._open and self._value is not _NOTHING)
        if wanted is None or len(self._open) >= _DEPTH_MAX:
            self.is_cut = self.is_cut or wanted is not None
            self._passing = 1
        else:
            self._open.append(_Open(value, wanted, self._kept))

    def _end(self, kind: type) -> None:
        if not self._open or not isinstance(self._open[-1].value, kind) or self._open[-1].key is not None:
            self.has_failed = True
            return
        self._put(self._open.pop().value)

    def _take_text(self, raw: bytes) -> None:
        if self._is_key():
            self._open[-1].key = _text(raw)
            return
        self.is_cut = self.is_cut or len(raw) > KEPT_BYTES_MAX
        self._put(_text(raw[-KEPT_BYTES_MAX:]) if self._is_kept else _NOTHING, min(len(raw), KEPT_BYTES_MAX))

    def _end_scalar(self) -> None:
        if not self._scalar:
            return
        raw, self._scalar = bytes(self._scalar), bytearray()
        try:
            value = json.loads(raw)
        except ValueError:
            self.has_failed = True
            return
        self._put(value if self._next() is not None else _NOTHING, len(raw))

    def _put(self, value: Any, size: int = 0) -> None:
        """Put a value where it belongs; `_NOTHING` for one that is not wanted."""
        if not self._open:
            self.has_failed = self.has_failed or self._value is not _NOTHING
            self._value = value
            return
        above = self._open[-1]
        if value is not _NOTHING:
            self._kept += size + _VALUE_BYTES
        if isinstance(above.value, list):
            self._append(above, value)
        elif above.key is None:
            self.has_failed = True
        else:
            if value is not _NOTHING:
                above.value[above.key] = value
                self._kept += len(above.key)  # names are kept, too, however long
            above.key = None
        if self._open[1:] and self._is_full and not above.wanted.is_tail:
            self.is_cut = True  # the rest of it is passed over at once, as there may be millions of values
            self._passed, self._passing = self._open.pop().value, 1

    def _append(self, above: _Open, value: Any) -> None:
        at = above.count
        above.count += 1
        is_tail = above.wanted.is_tail and len(self._open) > 1
        if value is not _NOTHING or is_tail or at <= above.wanted.last_index:
            above.value.append(None if value is _NOTHING else value)
        if is_tail:
            above.held.append(self._kept - above.mark)
            if len(above.value) > above.wanted.tail:
                del above.value[0]
                self._kept -= above.held.pop(0)
            above.mark = self._kept


def _end(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    found = pattern.match(data, at)
    return at if found is None else found.end()


def _text(raw: bytes) -> str:
    """The text of a string of JSON, of which the beginning may be cut off, in the middle of an escape, too."""
    text = raw.decode("utf-8", "replace")
    for begin in range(8):
        with contextlib.suppress(ValueError):
            found: str = json.loads(f'"{text[begin:]}"', strict=False)
            return found
    return text
