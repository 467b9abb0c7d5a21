"""What the worker, the launcher and the wardens tell one another: the spec of a run, and what happened to it.

Stdlib only: a warden is forked from the launcher, and every page that the launcher imports is paid for again at
each fork. Everything here travels as one line of JSON over the run's socket (`Spec` first, then commands one way and
messages the other), and the `End` also lies in the run's folder as `exit.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

ACK_WAIT_S = 0.3
"""How long a warden waits for the worker to have appended the end before it pays for an fsync of the record."""

LOG_BYTES_MAX = 64 * 1024 * 1024
"""How much of all that it prints is kept in its log: the beginning and the end."""

SENT_BYTES_MAX = 2 * LOG_BYTES_MAX + 64 * 1024
"""How much of a log is read by who does not follow it: of a run and of what verifies it, even while they flood it."""

TAIL_BYTES = 256 * 1024
"""How much of the end of stdout is kept for judging the outcome."""

ERRORS_BYTES = 64 * 1024
"""How much of the beginning of stderr, and again of its end, is kept for the same."""

LAUNCHER_MARK = "MAESTRO_LAUNCHER_HOME"
"""In the environment of the launcher, and so of its wardens: whose they are. Never in an agent's."""

RUN_MARK = "MAESTRO_RUN_ID"
HOME_MARK = "MAESTRO_RUN_HOME"
"""In the environment of an agent and what it starts: of which run, of which installation."""


class Limits(NamedTuple):
    """What a run may use at most: bytes, cores, processes and threads; None: no limit."""

    memory: int | None = None
    cpu: float | None = None
    pids: int | None = None

    def asked(self) -> set[str]:
        return {name for name, value in self._asdict().items() if value is not None}


class Spec(NamedTuple):
    """One run, complete: the warden needs nothing else.

    argv[0] is a path or looked up on the PATH of `env`, the agent's whole environment. Paths are absolute. stdin: a
    file, None for /dev/null. log: gets stdout and stderr. record: where exit.json goes. tail: gets the last
    `TAIL_BYTES` of stdout, redacted, not traced; not made when there was none. stdout: gets all of it in the same form
    while it comes, up to `stdout_bytes_max`. errors: gets both ends of stderr, at the end. lock: the flock file of the
    workspace; folder: the workspace itself, to be locked as well. silent_s: end the run when it has printed nothing for
    so long.
    trace: the label of `TRACE: [timestamp] <label>: ` before each line of stdout. redact: secrets to take out of log
    and tail. fence_s: end the run when the worker has not pinged for so long. home: the installation.
    limits: the fields of `Limits`, which the launcher turns into `cage`: the control groups of the run (`cage.Group`).
    wrapped: argv starts a sandbox which starts the agent, so that signals are for the latter only. cleanup: a command
    to run when it is over, for what no signal reaches; pause, resume: to hold that still, and to let it go on. marks:
    empty files that belong to the folder of the log, to be made with it where somebody has removed it.
    """

    run: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: str
    record: str
    home: str = ""
    token: int = 0
    stdin: str | None = None
    tail: str | None = None
    lock: str | None = None
    folder: str | None = None
    lock_wait_s: float = 5.0
    timeout_s: float | None = None
    grace_s: float = 10.0
    stop_signal: int = 15
    log_bytes_max: int = LOG_BYTES_MAX
    trace: str | None = None
    fence_s: float | None = None
    redact: Sequence[str] = ()
    stdout: str | None = None
    stdout_bytes_max: int = 64 * 1024 * 1024
    errors: str | None = None
    silent_s: float | None = None
    limits: dict[str, Any] | None = None
    cage: list[Any] | None = None
    wrapped: bool = False
    cleanup: list[str] | None = None
    pause: list[str] | None = None
    resume: list[str] | None = None
    marks: list[str] | None = None

    def encode(self) -> bytes:
        return encode(self._asdict())

    def marked_env(self) -> dict[str, str]:
        """The agent's environment with the marks by which its processes are found."""
        return {**self.env, RUN_MARK: self.run, HOME_MARK: self.home}

    @classmethod
    def decode(cls, line: bytes) -> Spec:
        return cls(**json.loads(line))


class Started(NamedTuple):
    """The agent's program runs. start_time: of the process, clock ticks since boot. warden: pid of its warden."""

    pid: int
    start_time: int
    warden: int


class Frozen(NamedTuple):
    """Every process of the run is stopped; complete is False where one would not stop within a few seconds."""

    complete: bool
    processes: int


class Thawed(NamedTuple):
    """The run goes on, and so does its timeout."""


class End(NamedTuple):
    """How a run ended: nothing of it is alive any more.

    exit_code or signal: of the agent itself, both None when it never ran or was lost. timed_out: its time was over.
    stalled: it printed nothing for too long. oom: its memory was used up. stdout_bytes: of stdout, as redacted.
    stopped: why it was stopped, or None. spawn_error: why it never ran; retriable: through no fault of its own (no
    processes, no descriptors, the workspace busy). leftovers: processes that outlived the agent and were killed.
    worker_gone: it was killed because the worker's end of the socket was closed. lost: nobody knows how it ended.
    truncated: its log lacks something: left_out bytes of its middle, or what log_error kept from being written.
    cwd_gone: the folder that it was started in was removed or replaced.
    oom_kills: processes that the kernel killed at the run's limit of memory; forks_refused: by it at that of pids.
    """

    run: str
    token: int = 0
    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    stopped: str | None = None
    spawn_error: str | None = None
    errno: int | None = None
    retriable: bool = False
    duration_ms: int = 0
    output_bytes: int = 0
    truncated: bool = False
    leftovers: int = 0
    worker_gone: bool = False
    lost: bool = False
    stalled: bool = False
    oom: bool = False
    stdout_bytes: int = 0
    oom_kills: int = 0
    forks_refused: int = 0
    left_out: int = 0
    log_error: str | None = None
    cwd_gone: bool = False


Message = Started | Frozen | Thawed | End

_NAMES: dict[str, type[Message]] = {"started": Started, "frozen": Frozen, "thawed": Thawed, "ended": End}
_EVENTS: dict[type[Message], str] = {kind: name for name, kind in _NAMES.items()}
_to_json = json.JSONEncoder(separators=(",", ":")).encode


def encode(fields: dict[str, Any]) -> bytes:
    """One line of JSON; surrogate escapes (names that are no UTF-8) survive the way and back."""
    return _to_json(fields).encode() + b"\n"


def encode_message(message: Message) -> bytes:
    return encode({"event": _EVENTS[type(message)], **message._asdict()})


def decode_message(line: bytes) -> Message:
    """Raises ValueError where the line is no message; fields that a later build added are left out."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("event") not in _NAMES:
        raise ValueError(f"not a message of a warden: {line[:80]!r}")
    kind = _NAMES[fields["event"]]
    known: Message = kind(**{name: fields[name] for name in kind._fields if name in fields})
    return known
