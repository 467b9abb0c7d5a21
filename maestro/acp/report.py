"""The report of a run on the driver's stdout: one JSON event a line, by which Maestro reads, shows and judges the run.

`maestro/agents/transports/acp.yaml` says what these events mean. Pieces of a text that stream in are put together.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from maestro.acp.permissions import cut
from maestro.runtime.supervision.output import Redactor

TEXT_CHARS = 4096
TEXT_S = 0.5
ENDS_TEXT = frozenset({"tool_call", "done", "error"})
"""Events behind which no text goes on that was begun before."""


class Report:
    """Prints the events of a run. secrets: of the run, which are taken out of texts before these are cut in pieces.

    The run's warden finds those that stand in one event; not one that is split over two.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._secrets = secrets
        self._streams: dict[str, Redactor] = {}
        self._kind = ""
        self._text: list[str] = []
        self._since = 0.0

    def event(self, name: str, /, **fields: Any) -> None:
        """Print an event; fields that are None are left out."""
        self.flush()
        if name in ENDS_TEXT:
            self._release()
        self._print(name, **fields)

    def cut(self, value: object) -> str:
        """A text of the agent's as far as it is told, without secrets."""
        if not isinstance(value, str) or not self._secrets:
            return cut(value)
        redactor = Redactor(self._secrets)
        return cut(_text(redactor.feed(_bytes(value)) + redactor.flush()))

    def _print(self, name: str, /, **fields: Any) -> None:
        told = {"type": name} | {key: value for key, value in fields.items() if value is not None}
        line = json.dumps(told, ensure_ascii=False)  # as it was said, so that secrets are found in it
        sys.stdout.buffer.write(line.encode("utf-8", "replace") + b"\n")
        sys.stdout.buffer.flush()

    def text(self, kind: str, text: str) -> None:
        """Take a piece of a text of this kind; it is printed with those that follow at once."""
        if kind != self._kind:
            self.flush()
        if not self._text:
            self._kind, self._since = kind, time.monotonic()
        self._text.append(text)
        if sum(map(len, self._text)) > TEXT_CHARS:
            self.flush()

    def wait_s(self) -> float:
        """How long the text that is kept may be kept, infinite without any."""
        return max(0.0, self._since + TEXT_S - time.monotonic()) if self._text else float("inf")

    def flush(self) -> None:
        """Print the text that is kept, but for what may be the beginning of a secret."""
        text, self._text = "".join(self._text), []
        if text and self._secrets:
            stream = self._streams.setdefault(self._kind, Redactor(self._secrets))
            text = _text(stream.feed(_bytes(text)))
        if text:
            self._print(self._kind, text=text)

    def _release(self) -> None:
        """Print what was no beginning of a secret after all."""
        for kind, stream in self._streams.items():
            if text := _text(stream.flush()):
                self._print(kind, text=text)

    def flush_due(self) -> None:
        """Print the text that was kept long enough."""
        if self._text and not self.wait_s():
            self.flush()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
