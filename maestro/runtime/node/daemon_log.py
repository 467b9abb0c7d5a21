"""The log of the daemon, on stderr: one line of JSON for each message where stderr is no terminal."""

from __future__ import annotations

import datetime
import json
import logging
import sys
import time

log = logging.getLogger("maestro")

REPEAT_S = 30.0

LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARN": logging.WARNING, "ERROR": logging.ERROR}


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        line = {"at": at.replace("+00:00", "Z"), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, separators=(",", ":"))


class Seldom:
    """Warnings that would be repeated for as long as something lasts: each kind is logged at most once in REPEAT_S."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def warn(self, kind: str, text: str) -> None:
        """Log the text, unless a warning of this kind was logged less than REPEAT_S ago."""
        now = time.monotonic()
        if now - self._told.get(kind, -REPEAT_S) >= REPEAT_S:
            self._told[kind] = now
            log.warning("%s: %s", kind, text)


seldom = Seldom()


def start_logging(level: str) -> None:
    """Log to stderr from `level` (DEBUG, INFO, WARN, ERROR) on."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("maestro: %(levelname)s %(message)s")
    handler.setFormatter(plain if sys.stderr.isatty() else _JsonLines())
    log.handlers[:] = [handler]
    log.setLevel(LEVELS.get(level, logging.INFO))
    log.propagate = False
