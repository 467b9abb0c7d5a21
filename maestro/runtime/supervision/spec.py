"""The messages between worker, launcher and wardens: the spec of a run, commands, and what happened to the run.

Standard library only: a warden is forked from the launcher, and every page that the launcher imports is paid for again
at each fork. Everything here travels as one line of JSON over the run's socket (`Spec` first, then commands one way and
messages the other), and the `End` also lies in the run's folder as `exit.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

ACK_WAIT_S = 0.3
"""How long a warden waits for the worker to have appended the end before it pays for an fsync of the record."""

LOG_BYTES_MAX = 64 * 1024 * 1024
"""How many bytes of all that a run prints are kept in its log: of the beginning and the end."""

SENT_BYTES_MAX = 2 * LOG_BYTES_MAX + 64 * 1024
"""How many bytes of a log a command sends that does not follow it: a run and its verification may be flooding it."""

TAIL_BYTES = 256 * 1024
"""How many bytes of the end of stdout are kept for judging the outcome."""

ERRORS_BYTES = 64 * 1024
"""How many bytes of the beginning of stderr, and again of its end, are kept for judging the outcome."""

LAUNCHER_MARK = "MAESTRO_LAUNCHER_HOME"
"""Variable in the environment of the launcher and its wardens: their MAESTRO_HOME. Never in an agent's environment."""

RUN_MARK = "MAESTRO_RUN_ID"
HOME_MARK = "MAESTRO_RUN_HOME"
"""Variables in the environment of an agent and all that it starts: its run, and the MAESTRO_HOME of that."""


class Limits(NamedTuple):
    """What a run may use at most: bytes, cores, processes and threads; None: no limit."""

    memory: int | None = None
    cpu: float | None = None
    pids: int | None = None

    def asked(self) -> set[str]:
        """The names of the limits that are set."""
        return {name for name, value in self._asdict().items() if value is not None}


class Spec(NamedTuple):
    """All that a warden needs to guard one run: what to start, where its output goes, when to end it.

    run, token: the id of the run and the log position of its release. home: MAESTRO_HOME of the installation.
    argv, env, cwd, stdin: the program; argv[0] is a path, or a name that is looked up on the PATH of `env`, which is
    the agent's whole environment. All paths are absolute. stdin: a file, None for /dev/null.
    log: the file that gets stdout and stderr, at most log_bytes_max bytes of them. trace: the label of
    `TRACE: [timestamp] <label>: ` before each line of stdout. redact: secrets to be taken out of all that is kept.
    record: the file `exit.json`, which gets the `End`.
    tail: the file that gets the last `TAIL_BYTES` of stdout, redacted and not traced; not made for an empty stdout.
    stdout: the file that gets stdout in the same form while it comes, at most stdout_bytes_max bytes of it.
    errors: the file that gets the beginning and the end of stderr when the run is over.
    marks: empty files that belong to the folder of the log, made with it again where somebody has removed it.
    lock: the lock file of the workspace; folder: the workspace itself, where that is to be locked, too; lock_wait_s:
    how long the warden waits for them.
    timeout_s: how long the program may run; silent_s: how long it may print nothing; None: for ever.
    stop_signal, grace_s: how the program is asked to end, and how long it gets before SIGKILL.
    limits: the fields of `Limits`; cgroups: the control groups (`run_cgroup.Group`) that hold them, put in by the
    daemon's client of the launcher.
    wrapped: argv starts a sandbox which starts the agent, so that signals are for the latter only. cleanup: a command
    to run when the run is over, for what no signal reaches; pause, resume: commands that hold that still, and let it
    go on.
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
    redact: Sequence[str] = ()
    stdout: str | None = None
    stdout_bytes_max: int = 64 * 1024 * 1024
    errors: str | None = None
    silent_s: float | None = None
    limits: dict[str, Any] | None = None
    cgroups: list[Any] | None = None
    wrapped: bool = False
    cleanup: list[str] | None = None
    pause: list[str] | None = None
    resume: list[str] | None = None
    marks: list[str] | None = None

    def encode(self) -> bytes:
        """The spec as one line of JSON."""
        return encode(self._asdict())

    def marked_env(self) -> dict[str, str]:
        """The agent's environment with the marks by which its processes are found."""
        return {**self.env, RUN_MARK: self.run, HOME_MARK: self.home}

    @classmethod
    def decode(cls, line: bytes) -> Spec:
        """The spec that `encode` made the line of."""
        return cls(**json.loads(line))


class Started(NamedTuple):
    """Told by a warden: the agent's program runs.

    pid, start_time: of the agent's process, the latter in clock ticks since boot. warden: the warden's pid.
    """

    pid: int
    start_time: int
    warden: int


class Frozen(NamedTuple):
    """Told by a warden: the processes of the run are stopped.

    complete: False where one of them would not stop within a few seconds. processes: how many were stopped.
    """

    complete: bool
    processes: int


class Thawed(NamedTuple):
    """Told by a warden: the run goes on, and so does its timeout."""


class End(NamedTuple):
    """Told by a warden: how a run ended; no process of it is alive any more.

    exit_code, signal: of the agent's program, one of the two; both None when it never ran or was lost.
    timed_out: its time was over. stalled: it printed nothing for too long. oom: its memory was used up.
    stopped: the reason of a stop that was asked for, or None. worker_gone: it was killed because the worker's end of
    the socket was closed. lost: nobody knows how it ended.
    spawn_error: why its program never ran, errno of that; retriable: through no fault of the program (no processes, no
    descriptors, the workspace busy).
    output_bytes: of stdout and stderr as they came; stdout_bytes: of stdout, redacted.
    truncated: its log lacks something: left_out bytes of its middle, or what log_error kept from being written.
    leftovers: how many processes outlived the agent and were killed. cwd_gone: the folder that it was started in was
    removed or replaced. oom_kills: how many processes the kernel killed at the run's limit of memory; forks_refused:
    how many new processes it refused at the limit of processes.
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
    """The message as one line of JSON."""
    return encode({"event": _EVENTS[type(message)], **message._asdict()})


def decode_message(line: bytes) -> Message:
    """The message in a line of JSON, without fields of later builds. Raises ValueError where the line is none."""
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.get("event") not in _NAMES:
        raise ValueError(f"not a message of a warden: {line[:80]!r}")
    kind = _NAMES[fields["event"]]
    known: Message = kind(**{name: fields[name] for name in kind._fields if name in fields})
    return known
