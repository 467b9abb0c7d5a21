"""What is kept of all that a run prints: its log; for the judge the tail, the errors, a copy of stdout. Stdlib only."""

from __future__ import annotations

import contextlib

from maestro.runtime.output import Copy, Ends, Log, Sink, Stream, Tail
from maestro.runtime.record import write_file
from maestro.runtime.spec import ERRORS_BYTES, TAIL_BYTES, Spec


class Kept:
    """The output of one run, by its spec: `open` before the start, `take` at it, `finish` and `close` at the end."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._log: Log | None = None
        self._tail = Tail(TAIL_BYTES)
        self._errors = Ends(ERRORS_BYTES)
        self._copy = None if spec.stdout is None else Copy(spec.stdout, spec.stdout_bytes_max)
        self._streams: list[Stream] = []

    def open(self) -> None:
        """Open the log. Raises OSError where that cannot be."""
        self._log = Log(self._spec.log, self._spec.log_bytes_max)

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

    def finish(self) -> None:
        """Drain what the streams still hold; nobody writes to them any more."""
        for stream in self._streams:
            stream.finish()

    def close(self) -> None:
        """Close the log and the copy, and write what the judge gets."""
        if self._log is not None:
            self._log.close()
        if self._copy is not None:
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

    @property
    def truncated(self) -> bool:
        """Whether the log lacks some of it."""
        return self._log is not None and self._log.truncated
