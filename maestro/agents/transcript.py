"""The transcript of an agent, read from its stdout as it comes: session, usage, final text, how it says it ended.

Fed with bytes in pieces of any size. Lines that are no events are counted and passed over, lines above `LINE_BYTES_MAX`
too; nothing raises, and memory is bounded whatever comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from maestro.agents.event_paths import Matcher, Place, scalar
from maestro.agents.parts import TextRule
from maestro.agents.printable_text import plain, shown
from maestro.agents.schema import Definition
from maestro.agents.usage import NOTHING, Meter, Usage

LINE_BYTES_MAX = 1024 * 1024
TEXT_CHARS_MAX = 128 * 1024
SESSION = re.compile(r"[A-Za-z0-9_/.:][\x21-\x7e]{0,199}")
"""A session id that can be passed as an argument: no blanks, and never an option."""

_LINE_SEARCHED_MAX = 4096


class TranscriptSum(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of a transcript.

    events: how many there were; final: the final event was one. failure, refusal: the first event that said so, with
    its line, "" where none did.
    """

    session: str = ""
    usage: Usage = NOTHING
    text: str = ""
    events: int = 0
    lines: int = 0
    final: bool = False
    failure: str = ""
    refusal: str = ""


class Transcript:
    """Reads the stdout of a run by the rules of a definition. before: what earlier runs used in its session."""

    def __init__(self, definition: Definition, before: Usage = NOTHING) -> None:
        output, success = definition.output, definition.success
        self._format = output.format
        self._texts = [_Text(rule) for rule in _several(output.text)]
        self._meter = None if output.usage is None else Meter(output.usage, before)
        self._is_final, self._is_failure = Matcher(success.final_event), Matcher(success.fail_event)
        self._is_refusal = Matcher(success.refused_event)
        self._sessions = [Place(path) for path in output.session] if output.format != "text" else []
        self._patterns = session_patterns(definition)
        self._line = bytearray()
        self._too_long = False
        self._lines = self._events = 0
        self._final = False
        self._failure = self._refusal = self._session = ""

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

    def gap(self) -> None:
        """Note that bytes are missing here: what was begun is no line, nor is what comes before the next line end."""
        self._line.clear()
        self._too_long = True

    def end(self) -> None:
        """Note that no more comes: what has no line end is a line too."""
        if self._format == "json":
            for event in _documents(bytes(self._line)):
                self._take(event)
            self._line.clear()
        elif self._line:
            self._end_line()

    @property
    def told(self) -> TranscriptSum:
        """The sum of the transcript so far."""
        return TranscriptSum(
            session=self._session,
            usage=NOTHING if self._meter is None else self._meter.sum,
            text=next((text.value for text in self._texts if text.value.strip()), ""),
            events=self._events,
            lines=self._lines,
            final=self._final,
            failure=self._failure,
            refusal=self._refusal,
        )

    def _keep(self, piece: bytes) -> None:
        if self._too_long:
            return
        if len(self._line) + len(piece) > LINE_BYTES_MAX:
            self._line.clear()
            self._too_long = True
        else:
            self._line += piece

    def _end_line(self) -> None:
        self._lines += 1
        line, self._too_long = bytes(self._line), False
        self._line.clear()
        if self._format == "text":
            self._search(line)
            return
        for event in _events(line):
            self._take(event)

    def _search(self, line: bytes) -> None:
        if not self._session and self._patterns:
            self._session = session_in(line[:_LINE_SEARCHED_MAX].decode("utf-8", "replace"), self._patterns)

    def _take(self, event: dict[str, Any]) -> None:
        self._events += 1
        for place in self._sessions if not self._session else ():
            found = next((text for value in place.values(event) if (text := scalar(value))), "")
            if found != "null" and SESSION.fullmatch(found):
                self._session = found
                break
        for rule in self._texts:
            rule.take(event)
        if self._meter is not None:
            self._meter.take(event)
        if not self._failure and self._is_failure(event):
            self._failure = self._quoted(event)
        if not self._refusal and self._is_refusal(event):
            self._refusal = self._quoted(event, self._is_refusal.reason(event))
        self._final = self._final or self._is_final(event)

    def _quoted(self, event: dict[str, Any], reason: str = "") -> str:
        """An event as evidence: its line, what of it was looked for, and what it says."""
        try:
            said = json.dumps(event, ensure_ascii=False)[:2000]
        except (ValueError, RecursionError):
            said = "an event that cannot be shown"
        where = f"line {self._lines}: " if self._format == "ndjson" else ""
        return where + (f"{shown(plain(reason), 200)} in " if reason else "") + shown(plain(said), 300)


class _Text:
    """The final text by one rule."""

    def __init__(self, rule: TextRule) -> None:
        self._rule = rule
        self._place = Place(rule.path)
        self._matches, self._begins = Matcher(rule.match), Matcher(rule.after)
        self.value = ""

    def take(self, event: dict[str, Any]) -> None:
        if self._begins(event):
            self.value = ""
        if not self._matches(event):
            return
        text = self._place.text(event)
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


def _several(rules: TextRule | tuple[TextRule, ...] | None) -> tuple[TextRule, ...]:
    return (rules,) if isinstance(rules, TextRule) else rules or ()


def _events(line: bytes) -> Iterator[dict[str, Any]]:
    """The events of a line: the object that it is, or those in the list that it is."""
    line = line.strip()
    if line[:1] not in (b"{", b"["):
        return
    data = _decoded(line)
    for event in data if isinstance(data, list) else [data]:
        if isinstance(event, dict):
            yield event


def _documents(text: bytes) -> Iterator[dict[str, Any]]:
    """The document that the whole output is, or that begins at one of its lines: before it there may be messages."""
    for begin in re.finditer(rb"^[ \t]*(?=[{\[])", text, re.MULTILINE):
        if events := list(_events(text[begin.end() :])):
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
