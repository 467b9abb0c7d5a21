"""What is kept of all that a run prints: its log; for the judge the tail, the errors, a copy of stdout. Stdlib only."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from maestro.runtime.supervision.capped_log import CappedLog
from maestro.runtime.supervision.exit_record import write_file
from maestro.runtime.supervision.mended_file import identity, make_folder
from maestro.runtime.supervision.output import Copy, Ends, Sink, Stream, Tail
from maestro.runtime.supervision.spec import ERRORS_BYTES, TAIL_BYTES, Spec

MEND_EVERY_S = 2.0


class OutputFiles:
    """The output of one run, by its spec: `open` before the start, `take` at it, `finish` and `close` at the end."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._log: CappedLog | None = None
        self._tail = Tail(TAIL_BYTES)
        self._errors = Ends(ERRORS_BYTES)
        self._copy = None if spec.stdout is None else Copy(spec.stdout, spec.stdout_bytes_max)
        self._streams: list[Stream] = []
        self._mended_at = 0.0
        self._cwd = identity(spec.cwd)

    def open(self) -> None:
        """Open the log. Raises OSError where that cannot be."""
        self._log = CappedLog(self._spec.log, self._spec.log_bytes_max)

    def take(self, stdout: int, stderr: int) -> list[Stream]:
        """The two streams of the agent, to drain whenever there is something."""
        assert self._log is not None
        spec = self._spec
        sinks: list[Sink] = [self._tail] if self._copy is None else [self._tail, self._copy]
        self._streams = [
            Stream(stdout, self._log, spec.redact, sinks, spec.trace),
            Stream(stderr, self._log, spec.redact, [self._errors]),
        ]
        return self._streams

    def mend(self, now: bool = False) -> None:
        """Now and then, or now: have those files back that somebody removed while they were written, and their folder
        as one of runs, so that the next run may be put there.
        """
        if self._log is None or (not now and time.monotonic() - self._mended_at < MEND_EVERY_S):
            return
        self._mended_at = time.monotonic()
        folder = Path(self._spec.log).parent
        if identity(folder) == (0, 0):
            with contextlib.suppress(OSError):
                make_folder(folder)
                for mark in self._spec.marks or ():
                    os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._log.mend()
        if self._copy is not None:
            self._copy.mend()

    def finish(self) -> None:
        """Drain what the streams still hold; nobody writes to them any more."""
        for stream in self._streams:
            stream.finish()
        self.mend(now=True)

    def close(self) -> None:
        """Close the log and the copy, and write what the judge gets."""
        if self._log is not None:
            self._log.close()
        if self._copy is not None:
            self._copy.mend()
            self._copy.close()
        for path, text in ((self._spec.tail, self._tail.value()), (self._spec.errors, self._errors.value())):
            if path is not None and text:
                with contextlib.suppress(OSError):  # a full disk costs what is kept for the judge, not the end
                    write_file(path, text)

    @property
    def output_bytes(self) -> int:
        """How much it printed, stdout and stderr together."""
        return sum(stream.bytes for stream in self._streams)

    @property
    def stdout_bytes(self) -> int:
        """How much of stdout is kept."""
        return self._streams[0].kept if self._streams else 0

    def lacks(self) -> dict[str, Any]:
        """What is missing, as fields of `End`: of the log, and of the folder that the run was started in."""
        log = self._log
        fields: dict[str, Any] = {"cwd_gone": bool(self._streams) and identity(self._spec.cwd) != self._cwd}
        if log is not None:
            fields |= {"truncated": log.truncated, "left_out": log.left_out, "log_error": log.error}
        return fields
