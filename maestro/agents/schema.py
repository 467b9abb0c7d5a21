"""The keys of a definition and of an adapter, as structs: SPEC.md 4 and ADAPTERS.md in types.

The schema is wider than what this build can carry out: `registration` refuses what it cannot do, so that nothing
ever runs less isolated, or judged more kindly, than its file asks.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from maestro.model.errors import Invalid

PROMPT_BYTES_MAX = 100 * 1024  # Linux takes 128 KiB an argument, its NUL included


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping of a document. Fields without a default are required in it."""


class VersionProbe(Schema, frozen=True, kw_only=True):
    """How to ask the program for its version. min: older ones take the adapter's `older` form, or are refused."""

    argv: tuple[str, ...]
    regex: str = r"(\d+(?:\.\d+)+)"
    min: str = ""


class ModeList(Schema, frozen=True, kw_only=True):
    """How to ask the program for its modes: group 1 of `regex` on each line of the answer."""

    argv: tuple[str, ...]
    regex: str
    exclude: tuple[str, ...] = ()


class Modes(Schema, frozen=True, kw_only=True):
    """Which modes there are. listing: asked of the program; static: where it cannot tell; map: our name to its."""

    listing: ModeList | None = msgspec.field(name="list", default=None)
    static: tuple[str, ...] = ()
    map: dict[str, str] = {}
    default: str = ""


class Prompt(Schema, frozen=True, kw_only=True):
    """How the prompt reaches the program.

    otherwise: what happens to a prompt that is no argument (over `max_bytes`, or with a NUL) where via is `arg`:
    `stdin`, or `mention` (the argument names the file to read). One that begins with `-` goes by stdin, or with a
    line end before it.
    """

    via: Literal["arg", "stdin", "file"] = "arg"
    max_bytes: int = PROMPT_BYTES_MAX
    otherwise: Literal["stdin", "mention"] = "mention"


class AgentFile(Schema, frozen=True, kw_only=True):
    """A file that a run finds in place. path: below `{workspace}`, `{home}` or `{tmp}`; mode: octal digits."""

    path: str
    content: str
    mode: str = "0600"


class EventPath(Schema, frozen=True, kw_only=True):
    """Where in the events of an NDJSON output something is: events that match, and the path inside them."""

    match: dict[str, str]
    path: str


class Output(Schema, frozen=True, kw_only=True):
    """What stdout is. session, text, usage: for `ndjson` only."""

    format: Literal["text", "ndjson"] = "text"
    session: tuple[str, ...] = ()
    text: EventPath | None = None
    usage: EventPath | None = None


class Success(Schema, frozen=True, kw_only=True):
    """What a good end is. exit: the codes; fail_stdout, fail_stderr: a line that matches means `agent_error`."""

    exit: tuple[int, ...] = (0,)
    final_event: dict[str, str] | None = None
    fail_event: dict[str, str] | None = None
    fail_stdout: str = ""
    fail_stderr: str = ""
    output_required: bool = False


class Resume(Schema, frozen=True, kw_only=True):
    """How to go on with the agent's own session: arguments put before the prompt, or at the end."""

    args: tuple[str, ...]
    before: Literal["prompt", "end"] = "prompt"


class Stop(Schema, frozen=True, kw_only=True):
    """How a run is asked to stop, and how long it may take before SIGKILL. grace_s: seconds."""

    signal: Literal["TERM", "INT", "HUP", "QUIT", "KILL"] = "TERM"
    grace_s: float = 10.0


class RunLimits(Schema, frozen=True, kw_only=True):
    """timeout_s: seconds of a run, None for MAESTRO_AGENT_TIMEOUT; silent_s: seconds without output, None for ever."""

    timeout_s: float | None = None
    silent_s: float | None = None


class Resources(Schema, frozen=True, kw_only=True):
    """What a run may use. memory, disk: bytes; cpu: cores; pids: processes and threads. None: no limit."""

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


class AdapterKeys(Schema, frozen=True, kw_only=True):
    """The keys of ADAPTERS.md, which an adapter sets and a definition may override.

    bin: a path, a name on PATH, `${VARIABLE}`, or a list of them of which the first that is there is taken.
    """

    bin: str | tuple[str, ...] = ""
    version: VersionProbe | None = None
    modes: Modes = Modes()
    argv: tuple[str, ...] = ()
    prompt: Prompt = Prompt()
    cwd: str = "{workspace}"
    env: dict[str, str] = {}
    env_inherit: tuple[str, ...] = ()
    secret_env: tuple[str, ...] = ()
    home: Literal["user", "agent"] = "user"
    credentials: tuple[str, ...] = ()
    files: tuple[AgentFile, ...] = ()
    output: Output = Output()
    success: Success = Success()
    resume: Resume | None = None
    stop: Stop = Stop()
    limits: RunLimits = RunLimits()


class AdapterDocument(AdapterKeys, frozen=True, kw_only=True):
    """A file of `builtin/`. older: the keys that differ for a version below `version.min`, or one that is not told."""

    name: str
    older: AdapterKeys | None = None


class TypeDocument(AdapterKeys, frozen=True, kw_only=True):
    """A file of `agents.d`. A file of only `slug` and `mode` is complete."""

    slug: str
    mode: str = ""
    adapter: str = "kilo"
    workspace_template: str = ""
    resource_limits: ResourceText = ResourceText()
    resources: ResourceText = ResourceText()
    capabilities: tuple[str, ...] = ()
    secrets_dir: str = ""
    shared_cache: str = ""
    isolate_with: Literal["none", "bubblewrap", "docker"] = "none"
    shared_network: bool = False


class Definition(AdapterKeys, frozen=True, kw_only=True):
    """One kind of agent: the file over its adapter; after `registration.resolve` also bound to a program.

    source: the file, or `built-in`. older: the keys to replace if the program is an older one, {} once resolved.
    executable: absolute path, "" until resolved; found_version: "" where it is not told; path: the PATH of the
    caller, which the program's own interpreter may need. Paths are absolute. Holds no secret, only their names.
    """

    slug: str
    source: str
    adapter: str
    mode: str = ""
    workspace_template: str = ""
    resource_limits: Resources = Resources()
    capabilities: tuple[str, ...] = ()
    secrets_dir: str = ""
    shared_cache: str = ""
    isolate_with: Literal["none", "bubblewrap", "docker"] = "none"
    shared_network: bool = False
    older: dict[str, object] = {}
    executable: str = ""
    found_version: str = ""
    path: str = ""

    @property
    def program_mode(self) -> str:
        """The mode by the program's own name for it."""
        return self.modes.map.get(self.mode, self.mode)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data with every key written out, so that later defaults do not change what was recorded."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Definition:
        """What `to_dict` wrote; keys of later builds are left out. Raises `Invalid` for data that is none."""
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise Invalid(f"the recorded definition cannot be read: {error}", mend="assign the agent again") from None

    def older_form(self) -> Definition:
        """The definition as it is for a program older than `version.min`."""
        return Definition.from_dict({**self.to_dict(), **self.older, "older": {}})
