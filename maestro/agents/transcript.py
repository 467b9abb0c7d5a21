"""The transcript of an agent, read from its stdout as it comes: session, usage, final text, how it says it ended.

Fed with bytes in pieces of any size. Lines that are no events are counted and passed over; of lines above
`LINE_BYTES_MAX` is kept what the rules ask for (`excerpt`), and what is left out is said in the sum. Nothing raises,
and memory is bounded whatever comes.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from maestro.agents.event_paths import Matcher, Place, scalar
from maestro.agents.excerpt import Excerpt, wanted_by
from maestro.agents.line_patterns import FIRST_CHARACTERS, LINE_LENGTH_MAX
from maestro.agents.parts import TextRule
from maestro.agents.schema import Definition
from maestro.agents.usage import NOTHING, Meters, Usage
from maestro.printable_text import plain, shown

LINE_BYTES_MAX = 1024 * 1024
TEXT_CHARS_MAX = 128 * 1024
SESSION = re.compile(r"[A-Za-z0-9_/.:][\x21-\x7e]{0,199}")
"""A session id that can be passed as an argument: no blanks, and never an option."""

EVIDENCE_CHARS = 2000
"""How much of what matched is told as evidence."""

_LAST_CHARS = 500
_LINE_SEARCHED_MAX = LINE_LENGTH_MAX
_LINE_BYTES_SEARCHED = 4 * _LINE_SEARCHED_MAX
_BEGINS_TRIED = 20
_DOCUMENT_BEGINS = re.compile(r"^\ufeff?[ \t]*(?=[{\[])", re.MULTILINE)
_DOCUMENTS_TRIED = 10_000
"""At how many lines a document is looked for, as each may be read to the end of what was printed."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BEGINS = re.compile(rb"^(?:\xef\xbb\xbf)?[ \t]*(?=[{\[])", re.MULTILINE)


class TranscriptSum(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of a transcript.

    events: how many there were; final: the final event was one. failure, refusal: the first event that said so, with
    its line, "" where none did; last: the last event, once there is no more. unread: what was printed and not read, in
    words, "" for nothing.
    """

    session: str = ""
    usage: Usage = NOTHING
    text: str = ""
    events: int = 0
    lines: int = 0
    final: bool = False
    failure: str = ""
    refusal: str = ""
    last: str = ""
    unread: str = ""


class Transcript:
    """Reads the stdout of a run by the rules of a definition. before: what earlier runs used in its session."""

    def __init__(self, definition: Definition, before: Usage = NOTHING) -> None:
        output, success = definition.output, definition.success
        self._definition = definition
        self._format = output.format
        self._texts = [_Text(rule) for rule in output.texts]
        self._meters = Meters(output.usages, before)
        self._is_final, self._is_failure = Matcher(success.final_event), Matcher(success.fail_event)
        self._is_refusal = Matcher(success.refused_event)
        self._sessions = [Place(path) for path in output.session] if output.format != "text" else []
        self._patterns = session_patterns(definition)
        self._wanted = wanted_by(definition)
        self._line = bytearray()
        self._excerpt: Excerpt | None = None  # of the line, where it is too long
        self._has_gap = False
        self._lines = self._events = 0
        self._final = False
        self._failure = self._refusal = self._session = self._last = self._unread = ""
        self._latest: dict[str, Any] | None = None

    def feed(self, data: bytes) -> None:
        """Take the next piece of stdout."""
        if self._format == "json":
            self._keep(data)
            return
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._keep(piece)
            self._end_line()
        self._keep(rest)

    def gap(self, missing: int = 0) -> None:
        """Note that so many bytes are missing here: what was begun is no line, nor is what comes before the next line
        end.
        """
        self._line.clear()
        self._excerpt = None
        self._has_gap = True
        if missing:
            self._leave_out(f"{missing} bytes in the middle of stdout were not kept")

    def end(self) -> None:
        """Note that no more comes: what has no line end is a line too."""
        if self._format == "json" and self._excerpt is None:
            for event in _documents(bytes(self._line)):
                self._take(event)
            if not self._events and self._line.count(b"\n") > _DOCUMENTS_TRIED:
                self._leave_out(f"a document was looked for at the first {_DOCUMENTS_TRIED} lines that may begin one")
            self._line.clear()
        elif self._line or self._excerpt is not None:
            self._end_line()
        if self._latest is not None:
            self._last = self._quoted(self._latest, length=_LAST_CHARS)

    @property
    def told(self) -> TranscriptSum:
        """The sum of the transcript so far."""
        return TranscriptSum(
            session=self._session,
            usage=self._meters.sum,
            text=next((text.value for text in self._texts if text.value.strip()), ""),
            events=self._events,
            lines=self._lines,
            final=self._final,
            failure=self._failure,
            refusal=self._refusal,
            last=self._last,
            unread=self._unread,
        )

    def _keep(self, piece: bytes) -> None:
        if self._has_gap:
            return
        if self._excerpt is not None:
            self._excerpt.feed(piece)
        elif len(self._line) + len(piece) <= LINE_BYTES_MAX:
            self._line += piece
        elif self._format == "text":  # of which no rule looks at more than the beginning
            self._line += piece[: max(0, _LINE_BYTES_SEARCHED - len(self._line))]
        else:
            self._begin_excerpt((bytes(self._line) + piece).removeprefix(_BYTE_ORDER_MARK))
            self._line.clear()

    def _begin_excerpt(self, data: bytes) -> None:
        """Read a line, or a document, that is too long from its beginning; before a document there may be messages."""
        begins = [0]
        if self._format == "json":
            begins = [found.end() for found in itertools.islice(_BEGINS.finditer(data), _BEGINS_TRIED)] or begins
        for begin in begins:
            self._excerpt = Excerpt(self._wanted)
            self._excerpt.feed(data[begin:])
            if not self._excerpt.has_failed:
                return

    def _end_line(self) -> None:
        self._lines += 1
        line, excerpt, self._has_gap = bytes(self._line), self._excerpt, False
        self._line.clear()
        self._excerpt = None
        if self._format == "text":
            self._search(line)
        elif excerpt is None:
            for event in _events(line):
                self._take(event)
        else:
            self._take_excerpt(excerpt)

    def _take_excerpt(self, excerpt: Excerpt) -> None:
        which = f"line {self._lines}" if self._format == "ndjson" else "the document"
        events = excerpt.events()
        for event in events or ():
            self._take(event)
        if events is None:
            self._leave_out(f"{which}, of {excerpt.size} bytes, is no whole JSON and was passed over")
        elif excerpt.is_cut:
            self._leave_out(f"of {which}, of {excerpt.size} bytes, not all that the rules ask for was kept")

    def _leave_out(self, what: str) -> None:
        """Say what was not read, in words, of the first time."""
        self._unread = self._unread or what

    def _search(self, line: bytes) -> None:
        if not (self._patterns or self._texts or self._definition.output.usages):
            return
        text = plain(line[:_LINE_BYTES_SEARCHED].decode("utf-8", "replace"))
        if len(line) > _LINE_BYTES_SEARCHED or len(text) > _LINE_SEARCHED_MAX:
            self._leave_out(FIRST_CHARACTERS)
            text = text[:_LINE_SEARCHED_MAX]
        if not self._session and self._patterns:
            self._session = session_in(text, self._patterns)
        self._meters.search(text)
        for rule in self._texts:
            rule.search(text)

    def _take(self, event: dict[str, Any]) -> None:
        self._events += 1
        self._latest = event
        for place in self._sessions if not self._session else ():
            found = next((text for value in place.values(event) if (text := scalar(value))), "")
            if found != "null" and SESSION.fullmatch(found):
                self._session = found
                break
        for rule in self._texts:
            rule.take(event)
        self._meters.take(event)
        if not self._failure and self._is_failure(event):
            self._failure = self._quoted(event)
        if not self._refusal and self._is_refusal(event):
            self._refusal = self._quoted(event, self._is_refusal.reason(event))
        self._final = self._final or self._is_final(event)

    def _quoted(self, event: dict[str, Any], reason: str = "", length: int = EVIDENCE_CHARS) -> str:
        """An event as evidence: its line, what of it was looked for, and what it says."""
        try:
            said = json.dumps(event, ensure_ascii=False)[: 2 * length]
        except (ValueError, RecursionError):
            said = "an event that cannot be shown"
        where = f"line {self._lines}: " if self._format == "ndjson" else ""
        return where + (f"{shown(plain(reason), length)} in " if reason else "") + shown(plain(said), length)


class _Text:
    """The final text by one rule."""

    def __init__(self, rule: TextRule) -> None:
        self._rule = rule
        self._place = Place(rule.path)
        after = rule.after
        self._matches = Matcher(rule.match)
        self._begins = Matcher(None if isinstance(after, str) else after)
        self._pattern = re.compile(rule.pattern)
        self._after = re.compile(after) if isinstance(after, str) else None
        self.value = ""

    def take(self, event: dict[str, Any]) -> None:
        if self._begins(event):
            self.value = ""
        if not self._matches(event):
            return
        self._add(self._place.text(event))

    def search(self, line: str) -> None:
        """Take a line of a text output: the one that begins it anew is no part of it."""
        if self._after is not None and self._after.search(line):
            self.value = ""
        elif (found := self._pattern.search(line)) is not None:
            self._add((found[1] if found.re.groups else found[0]) or "")

    def _add(self, text: str) -> None:
        if self._rule.take == "all" and self.value:
            text = self.value + (self._rule.join if text else "") + text
        if text:
            self.value = text[-TEXT_CHARS_MAX:]


def session_patterns(definition: Definition) -> list[re.Pattern[str]]:
    """The patterns of an agent's session in plain text; [] where the output is events."""
    return [re.compile(rule) for rule in definition.output.session] if definition.output.format == "text" else []


def session_in(line: str, patterns: list[re.Pattern[str]]) -> str:
    """The id that one of the patterns finds in a line, "" where none does."""
    text = plain(line[:_LINE_SEARCHED_MAX])
    found = (match[1] for pattern in patterns if (match := pattern.search(text)))
    return next((name for name in found if name and SESSION.fullmatch(name)), "")


def _events(line: bytes) -> Iterator[dict[str, Any]]:
    """The events of a line: the object that it is, or those in the list that it is."""
    line = line.removeprefix(_BYTE_ORDER_MARK).strip()
    if line[:1] not in (b"{", b"["):
        return
    data = _decoded(line)
    for event in data if isinstance(data, list) else [data]:
        if isinstance(event, dict):
            yield event


def _documents(text: bytes) -> Iterator[dict[str, Any]]:
    """The document that the whole output is, or that begins at one of its lines: before it there may be messages."""
    said = text.decode("utf-8", "replace")
    reader = json.JSONDecoder()
    for begin in itertools.islice(_DOCUMENT_BEGINS.finditer(said), _DOCUMENTS_TRIED):
        try:
            data, end = reader.raw_decode(said, begin.end())
        except (ValueError, RecursionError):
            continue
        if said[end:].isspace() or end == len(said):
            events = [event for event in (data if isinstance(data, list) else [data]) if isinstance(event, dict)]
            if events:
                yield from events
                return


def _decoded(text: bytes) -> Any:
    """The JSON in a text, read as tolerantly as possible; None for what is none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
