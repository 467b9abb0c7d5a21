"""The parts of a definition: the mappings inside its keys, each a struct.

In the events of an NDJSON output a *path* is `a.b`, `a.0.b` for the first of a list, `a.*.b` for all of it. A *match*
is a mapping of paths to what must stand there: a text (numbers and true/false as written), one of a list of them, `*`
for anything, or a regular expression behind `~`. All of its entries must hold.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

PROMPT_BYTES_MAX = 100 * 1024  # Linux takes arguments of up to 128 KiB, their NUL included


Match: TypeAlias = dict[str, str | tuple[str, ...]]
Matches: TypeAlias = Match | tuple[Match, ...]
"""One match, or several of which any may hold."""


Patterns: TypeAlias = str | tuple[str, ...]
"""A regular expression, or several of which any may match."""


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """The base of mappings in a document. Fields without a default are required in it."""


class VersionProbe(Schema, frozen=True, kw_only=True):
    """How to ask a program for its version. min: older ones take the adapter's `older` form, or are refused."""

    argv: tuple[str, ...]
    regex: str = r"(\d+(?:\.\d+)+)"
    min: str = ""


class ModeList(Schema, frozen=True, kw_only=True):
    """How to ask a program for its modes: group 1 of `regex` on each line of the answer, but those in `exclude`."""

    argv: tuple[str, ...]
    regex: str
    exclude: tuple[str, ...] = ()


class Modes(Schema, frozen=True, kw_only=True):
    """The modes of a program. listing: how to ask for them; static: where it cannot tell; map: our name to its."""

    listing: ModeList | None = msgspec.field(name="list", default=None)
    static: tuple[str, ...] = ()
    map: dict[str, str] = {}
    default: str = ""


class Prompt(Schema, frozen=True, kw_only=True):
    """How the prompt reaches a program.

    otherwise: what happens to a prompt that is no argument (over `max_bytes`, or with a NUL) where via is `arg`:
    `stdin`, or `mention` (the argument names the file to read). One that begins with `-` goes by stdin, or with a line
    end before it. commands: the characters with which a prompt begins that the program takes as a command of its own
    (`/!`); such a prompt goes with `guard` before it, all others exactly as they are.
    """

    via: Literal["arg", "stdin", "file"] = "arg"
    max_bytes: int = PROMPT_BYTES_MAX
    otherwise: Literal["stdin", "mention"] = "mention"
    commands: str = ""
    guard: str = "\n"


class AgentFile(Schema, frozen=True, kw_only=True):
    """A file that is written before each run. path: below `{workspace}`, `{home}` or `{tmp}`; mode: octal digits."""

    path: str
    content: str
    mode: str = "0600"


class Requirement(Schema, frozen=True, kw_only=True):
    """What a run needs from its surroundings; one of the conditions that are given is enough.

    env: one of these variables is set, and the run gets it. files: one of these is there; `~/` is the user's home.
    not_root: the user is not root. given: only where the run gets one of these variables, () for always; modes: only in
    these modes of the program, () for all. mend: what to do where none of them holds.
    """

    mend: str
    env: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    not_root: bool = False
    given: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()


class Delegate(Schema, frozen=True, kw_only=True):
    """What a process inside a run may dispatch; without this key nothing.

    to: targets, which it must name exactly so; depth: how many generations of tasks may follow such a run; max: how
    many tasks one run may dispatch.
    """

    to: tuple[str, ...]
    depth: int = 1
    max: int = 10


class TextRule(Schema, frozen=True, kw_only=True):
    """Where an agent's final text is: at `path` in the events that match.

    take: the `last` of them, or `all`, joined by `join` (deltas of a stream: ""). after: an event that matches this
    begins it anew, so that only what follows the last one counts. Where the output is text: `pattern` instead of match
    and path, a regular expression for a line, of which group 1 counts, or all that it finds; `after` is one, too.
    """

    match: Match = {}
    path: str = ""
    pattern: str = ""
    take: Literal["last", "all"] = "last"
    join: str = ""
    after: Match | str | None = None


class UsageRule(Schema, frozen=True, kw_only=True):
    """Where tokens and cost are: at `path` in the events that match, "" for the event itself.

    Numbers are found there by the names that agents give them (input, input_tokens, prompt_tokens, output, …; cost,
    total_cost_usd, … also beside them); `input`, `output`, `cached` and `cost` are paths for those that are called
    otherwise; of several for one number the sum counts. counts: whether `each` event tells of its own part, or of the
    `total` so far: of the run, or of the whole `session`, what earlier runs used in it included. id: the path of what
    an event tells of (a message, say): told again, it counts once, by its largest numbers. told: `end` where the
    program tells it only when it is done, so that a budget cannot stop it before. Where the output is text: `pattern`
    instead of match and paths, a regular expression for a line, with groups called input, output, cached, cost or id.
    """

    match: Match = {}
    path: str = ""
    pattern: str = ""
    input: str | tuple[str, ...] = ""
    output: str | tuple[str, ...] = ""
    cached: str | tuple[str, ...] = ""
    cost: str | tuple[str, ...] = ""
    id: str = ""
    counts: Literal["each", "total", "session"] = "each"
    told: Literal["stream", "end"] = "stream"


class Output(Schema, frozen=True, kw_only=True):
    """What stdout is: plain text, an event a line (`ndjson`), or one document (`json`).

    session: paths to the id of the agent's session, the first that is there counts; with `text` regular expressions,
    group 1 of a line. text: where the final text is, the first rule that finds some counts. usage: tokens and cost; of
    several rules, each of which tells all of it, the larger number counts.
    """

    format: Literal["text", "ndjson", "json"] = "text"
    session: tuple[str, ...] = ()
    text: TextRule | tuple[TextRule, ...] | None = None
    usage: UsageRule | tuple[UsageRule, ...] | None = None

    @property
    def usages(self) -> tuple[UsageRule, ...]:
        """The rules of usage, however many there are."""
        return (self.usage,) if isinstance(self.usage, UsageRule) else self.usage or ()

    @property
    def texts(self) -> tuple[TextRule, ...]:
        """The rules of the final text, however many there are."""
        return (self.text,) if isinstance(self.text, TextRule) else self.text or ()

    @property
    def usage_told(self) -> str:
        """When the agent tells what it used: `stream`, at the `end` only, or "" for never."""
        if not self.usages:
            return ""
        return "stream" if self.format != "json" and any(rule.told == "stream" for rule in self.usages) else "end"


class Success(Schema, frozen=True, kw_only=True):
    """What makes the end of a run a good one.

    exit: the codes. final_event: must have come; fail_event: must not; refused_event: the agent denied the work. The
    patterns are looked for in each line, one with `\\n` in it in all lines at once: of stdout and of the final text, of
    stderr, of the final text. One that matches means `agent_error`, and `wrong_mode` or `refused` for those called so.
    final_stdout is what a line of stdout must match; then fail_stdout counts only behind the last line that does, as a
    try that failed may be followed by one that went well, and an answer may quote a failure. output_required: it must
    say something.
    """

    exit: tuple[int, ...] = (0,)
    final_event: Matches | None = None
    fail_event: Matches | None = None
    refused_event: Matches | None = None
    final_stdout: Patterns = ""
    fail_stdout: Patterns = ""
    fail_stderr: Patterns = ""
    fail_text: Patterns = ""
    wrong_mode_stderr: Patterns = ""
    refused_text: Patterns = ""
    output_required: bool = False


class Resume(Schema, frozen=True, kw_only=True):
    """How to go on with the agent's own session: `args` put before the prompt, behind the program, or at the end.

    before: `prompt` (with the option that it is the value of), `start`, `end`, or an argument of `argv` to put them
    before. argv: instead of all that, a whole command line. Where neither has `{session}`, the program goes on with its
    latest session, and needs to tell none.
    """

    args: tuple[str, ...] = ()
    before: str = "prompt"
    argv: tuple[str, ...] = ()

    @property
    def by_id(self) -> bool:
        """Whether it goes on with a session that it is told, not just with its latest."""
        return "{session}" in (*self.args, *self.argv)


class Acp(Schema, frozen=True, kw_only=True):
    """How a program is driven that speaks the Agent Client Protocol, where `transport` is `acp`.

    argv: its command line then. permissions: what becomes of its requests for permission: `ask` a person, `allow` or
    `reject` them all, but for those on tools of the kinds in `allow` and `reject`. answer_s: how long an answer is
    waited for before the request is rejected, in seconds; None for as long as the run may take.
    """

    argv: tuple[str, ...] = ()
    permissions: Literal["ask", "allow", "reject"] = "ask"
    allow: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    answer_s: float | None = None


class Stop(Schema, frozen=True, kw_only=True):
    """How a run is asked to stop, and how long it may take before SIGKILL. grace_s: seconds."""

    signal: Literal["TERM", "INT", "HUP", "QUIT", "KILL"] = "TERM"
    grace_s: float = 10.0


class RunLimits(Schema, frozen=True, kw_only=True):
    """The time limits of a run, in seconds. timeout_s: of all of it, None for MAESTRO_AGENT_TIMEOUT.

    silent_s: without output, None for no limit; verify_s: that the command of `verify` may take.
    """

    timeout_s: float | None = None
    silent_s: float | None = None
    verify_s: float = 600.0


class Budget(Schema, frozen=True, kw_only=True):
    """What one run may use; a run that uses more is ended. tokens: input and output; cost: as the agent reckons it."""

    tokens: int | None = None
    cost: float | None = None


class Resources(Schema, frozen=True, kw_only=True):
    """The limits of a run's processes. memory, disk: bytes; cpu: cores; pids: processes and threads. None: no limit."""

    memory: int | None = None
    cpu: float | None = None
    pids: int | None = None
    disk: int | None = None


class ResourceText(Schema, frozen=True, kw_only=True):
    """`Resources` as written: sizes like `512M` or `2GiB`, or bytes."""

    memory: str | int | None = None
    cpu: str | float | None = None
    pids: int | None = None
    disk: str | int | None = None
