"""The observer of a run: reads its transcript out of the copy of its stdout, and tells what the log does not have yet.

The warden writes that copy up to a cap and keeps the tail of all; what lies between the two is lost, and the transcript
is told that there is a gap. The rest is read at the end of the run, also by a later daemon.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import trio

from maestro.agents.schema import Definition
from maestro.agents.transcript import Transcript, TranscriptSum, session_in, session_patterns
from maestro.agents.usage import NOTHING, Usage
from maestro.model.events import AnyFact, RunSessionOpened, RunUsageReported
from maestro.model.ids import task_of_run
from maestro.model.task import Run, Slot, Task
from maestro.runtime.supervision.spec import End
from maestro.workspaces.folders import RunFolder

LATEST = "latest"
"""The session of an agent that goes on with its latest one, and does not tell which that is."""

CHUNK_BYTES = 64 * 1024
ADVANCE_BYTES = 1024 * 1024
"""How many bytes are read before other runs get their turn."""


def is_heard(definition: Definition) -> bool:
    """Whether the stdout of such an agent is read while it runs: for a session, usage, a result."""
    output = definition.output
    return output.format != "text" or bool(output.session or output.texts or output.usages) or _has_latest(definition)


def _has_latest(definition: Definition) -> bool:
    """Whether such an agent goes on with its latest session, whatever that is called."""
    return definition.resume is not None and not definition.resume.by_id


def usage_of(run: Run) -> Usage:
    """The usage of a run as far as it is in the log."""
    return Usage(run.input_tokens, run.output_tokens, run.cached_tokens, run.cost)


def session_of(slot: Slot, task: Task, run: Run) -> tuple[str, Usage]:
    """The session that a run continues ("": none), and what earlier runs have used in it."""
    before = slot.resumable if task.resumes else None
    if before is None or before.agent != run.agent:
        return "", NOTHING
    used = NOTHING
    for earlier in slot.runs:
        if earlier.session == before.session and earlier.id != run.id:
            used = used.plus(usage_of(earlier))
    return before.session, used


class RunObserver:
    """The observer of one run. It starts from what the log has of the run, so that nothing is told twice.

    before: what earlier runs have used in the session.
    """

    def __init__(self, definition: Definition, run: Run, folder: RunFolder, before: Usage = NOTHING) -> None:
        self._definition = definition
        self._run = run
        self._folder = folder
        self._transcript = Transcript(definition, before)
        self._position = 0
        self._session = ""
        self._session_told, self._usage_told = run.session, usage_of(run)

    @property
    def told(self) -> TranscriptSum:
        """What the agent has told so far, by its transcript."""
        return self._transcript.told

    async def advance(self) -> bool:
        """Read what the copy has more, up to `ADVANCE_BYTES`, in a thread; whether there was anything."""
        try:
            if Path(self._folder.stdout).stat().st_size <= self._position:
                return False
        except OSError:
            return False
        return await trio.to_thread.run_sync(self._read, ADVANCE_BYTES)

    async def complete(self, end: End) -> None:
        """Read the rest, the tail included, of a run that has ended so."""
        while await self.advance():
            continue
        await trio.to_thread.run_sync(self._read_tail, end.stdout_bytes)

    def news(self) -> list[AnyFact]:
        """The facts about the run's session and usage that are not in the log yet."""
        told, run = self.told, self._run
        task = task_of_run(run.id)
        found: list[AnyFact] = []
        session = told.session or self._session or (LATEST if self._position and _has_latest(self._definition) else "")
        if session and session != self._session_told:
            found.append(RunSessionOpened(run.id, task, run.agent, session))
        if told.usage != self._usage_told:
            more = told.usage.minus(self._usage_told)
            tokens = (more.input_tokens, more.output_tokens, more.cost, more.cached_tokens)
            found.append(RunUsageReported(run.id, task, run.agent, *tokens))
        return found

    def note(self, facts: list[AnyFact]) -> None:
        """Take note that these of `news` are in the log."""
        for fact in facts:
            if isinstance(fact, RunSessionOpened):
                self._session_told = fact.session
            elif isinstance(fact, RunUsageReported):
                more = Usage(fact.input_tokens, fact.output_tokens, fact.cached_tokens, fact.cost)
                self._usage_told = self._usage_told.plus(more)

    def forget(self) -> None:
        """Remove the copy of stdout: the end of the run is in the log."""
        with contextlib.suppress(OSError):
            Path(self._folder.stdout).unlink()

    def _read(self, count: int) -> bool:
        with contextlib.suppress(OSError), Path(self._folder.stdout).open("rb") as file:
            file.seek(self._position)
            while count > 0 and (chunk := file.read(CHUNK_BYTES)):
                self._transcript.feed(chunk)
                self._position += len(chunk)
                count -= len(chunk)
            return True
        return False

    def _read_tail(self, stdout_bytes: int) -> None:
        """Read what the copy has no room for. stdout_bytes: the size of the whole stdout, 0 where it is not known."""
        tail = read_ends(self._folder.tail) if stdout_bytes > self._position else b""
        begin = stdout_bytes - len(tail)
        if begin > self._position:
            self._transcript.gap(begin - self._position)
        self._transcript.feed(tail[max(0, self._position - begin) :])
        self._transcript.end()
        if not self.told.session and (patterns := session_patterns(self._definition)):
            text = read_ends(self._folder.errors).decode("utf-8", "replace")
            self._session = next((name for line in text.splitlines() if (name := session_in(line, patterns))), "")


def read_ends(path: str, bytes_max: int = 512 * 1024) -> bytes:
    """The last bytes, at most `bytes_max`, of a file of a run; b"" where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - bytes_max))
            return file.read(bytes_max)
    except OSError:
        return b""
