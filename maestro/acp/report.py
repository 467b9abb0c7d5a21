"""The report of a run on the driver's stdout: one JSON event a line, by which Maestro reads, shows and judges the run.

`maestro/agents/transports/acp.yaml` says what these events mean. Pieces of a text that stream in are put together.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

TEXT_CHARS = 4096
TEXT_S = 0.5


class Report:
    """Prints the events of a run."""

    def __init__(self) -> None:
        self._kind = ""
        self._text: list[str] = []
        self._since = 0.0

    def event(self, name: str, /, **fields: Any) -> None:
        """Print an event; fields that are None are left out."""
        self.flush()
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
        """Print the text that is kept."""
        text, self._text = "".join(self._text), []
        if text:
            self.event(self._kind, text=text)

    def flush_due(self) -> None:
        """Print the text that was kept long enough."""
        if self._text and not self.wait_s():
            self.flush()
