"""The files of a run's output: its log, and for the judge the tail and a copy of stdout, and both ends of stderr."""

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
    """The output files of one run, by its spec: `open` before its start, `take` at it, `finish`, `close` at its end."""

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
        """Open the log. Raises OSError."""
        self._log = CappedLog(self._spec.log, self._spec.log_bytes_max)

    def take(self, stdout: int, stderr: int) -> list[Stream]:
        """The two streams of the agent, to be drained when they have something. stdout, stderr: descriptors."""
        assert self._log is not None
        spec = self._spec
        sinks: list[Sink] = [self._tail] if self._copy is None else [self._tail, self._copy]
        self._streams = [
            Stream(stdout, self._log, spec.redact, sinks, spec.trace),
            Stream(stderr, self._log, spec.redact, [self._errors]),
        ]
        return self._streams

    def mend(self, now: bool = False) -> None:
        """Make the files again that somebody removed while they were written, and their folder with its marks.

        now: at once; else only where the last look was MEND_EVERY_S ago.
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
        """Drain what the streams still hold: no process of the run is alive."""
        for stream in self._streams:
            stream.finish()
        self.mend(now=True)

    def close(self) -> None:
        """Close log and copy, and write the files that the judge reads."""
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
        """How many bytes the agent printed, on stdout and stderr together."""
        return sum(stream.bytes for stream in self._streams)

    @property
    def stdout_bytes(self) -> int:
        """How many bytes of stdout were passed on, redacted."""
        return self._streams[0].kept if self._streams else 0

    def lacks(self) -> dict[str, Any]:
        """Fields of `End` that say what the log lacks, and whether the folder that the run was started in is gone."""
        log = self._log
        fields: dict[str, Any] = {"cwd_gone": bool(self._streams) and identity(self._spec.cwd) != self._cwd}
        if log is not None:
            fields |= {"truncated": log.truncated, "left_out": log.left_out, "log_error": log.error}
        return fields
