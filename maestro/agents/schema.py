"""The keys of a definition and of an adapter, as structs: SPEC.md 4 and ADAPTERS.md in types.

`json_schema` gives the same to editors. What this build cannot carry out, `registration` refuses, so that nothing ever
runs less isolated, or judged more kindly, than its file asks.

In the events of an NDJSON output a *path* is `a.b`, `a.0.b` for the first of a list, `a.*.b` for all of it. A *match*
is a mapping of paths to what must stand there: a text (numbers and true/false as written), one of a list of them, `*`
for anything, or a regular expression behind `~`. All of its entries must hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import msgspec

from maestro.model.errors import Invalid

PROMPT_BYTES_MAX = 100 * 1024  # Linux takes 128 KiB an argument, its NUL included


Match: TypeAlias = dict[str, str | tuple[str, ...]]
Matches: TypeAlias = Match | tuple[Match, ...]
"""One match, or several of which any may hold."""


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


class TextRule(Schema, frozen=True, kw_only=True):
    """Where the final text is: at `path` in the events that match.

    take: the `last` of them, or `all`, joined by `join` (deltas of a stream: ""). after: an event that matches this
    begins it anew, so that only what follows the last one counts.
    """

    match: Match = {}
    path: str
    take: Literal["last", "all"] = "last"
    join: str = ""
    after: Match | None = None


class UsageRule(Schema, frozen=True, kw_only=True):
    """Where tokens and cost are: at `path` in the events that match, "" for the event itself.

    Numbers are found there by the names that agents give them (input, input_tokens, prompt_tokens, output, …; cost,
    total_cost_usd, … also beside them); `input`, `output`, `cached` and `cost` are paths for those that are called
    otherwise. counts: whether `each` event tells of its own part, or of the `total` so far: of the run, or of the whole
    `session`, what earlier runs used in it included.
    """

    match: Match = {}
    path: str = ""
    input: str = ""
    output: str = ""
    cached: str = ""
    cost: str = ""
    counts: Literal["each", "total", "session"] = "each"


class Output(Schema, frozen=True, kw_only=True):
    """What stdout is: plain text, an event a line (`ndjson`), or one document (`json`).

    session: paths to the id of the agent's session, the first that is there counts; with `text` regular expressions,
    group 1 of a line. text: where the final text is, the first rule that finds some counts; usage: tokens and cost;
    both not for `text`.
    """

    format: Literal["text", "ndjson", "json"] = "text"
    session: tuple[str, ...] = ()
    text: TextRule | tuple[TextRule, ...] | None = None
    usage: UsageRule | None = None


class Success(Schema, frozen=True, kw_only=True):
    """What a good end is.

    exit: the codes. final_event: must have come; fail_event: must not; refused_event: the agent denied the work. The
    patterns are looked for in each line: of stdout and of the final text, of stderr, of the final text; one that
    matches means `agent_error`, and `wrong_mode` or `refused` for those called so; final_stdout is what a line of
    stdout must match. output_required: it must say something.
    """

    exit: tuple[int, ...] = (0,)
    final_event: Matches | None = None
    fail_event: Matches | None = None
    refused_event: Matches | None = None
    final_stdout: str = ""
    fail_stdout: str = ""
    fail_stderr: str = ""
    fail_text: str = ""
    wrong_mode_stderr: str = ""
    refused_text: str = ""
    output_required: bool = False


class Resume(Schema, frozen=True, kw_only=True):
    """How to go on with the agent's own session: `args` put before the prompt, behind the program, or at the end.

    before: `prompt`, `start`, `end`, or an argument of `argv` to put them before. argv: instead of all that, a whole
    command line.
    """

    args: tuple[str, ...] = ()
    before: str = "prompt"
    argv: tuple[str, ...] = ()


class Stop(Schema, frozen=True, kw_only=True):
    """How a run is asked to stop, and how long it may take before SIGKILL. grace_s: seconds."""

    signal: Literal["TERM", "INT", "HUP", "QUIT", "KILL"] = "TERM"
    grace_s: float = 10.0


class RunLimits(Schema, frozen=True, kw_only=True):
    """timeout_s: seconds of a run, None for MAESTRO_AGENT_TIMEOUT; silent_s: seconds without output, None for ever.

    verify_s: seconds that the command of `verify` may take.
    """

    timeout_s: float | None = None
    silent_s: float | None = None
    verify_s: float = 600.0


class Budget(Schema, frozen=True, kw_only=True):
    """What one run may use; more ends it. tokens: input and output together; cost: as the agent reckons it."""

    tokens: int | None = None
    cost: float | None = None


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

    bin: a path, a name on PATH, `${VARIABLE}`, or a list of them of which the first that is there is taken. args: more
    arguments, put before the prompt of `argv`: a model, say. verify: a command that must exit 0 in the workspace after
    a good end: a text for the shell, or a list of arguments. own_sandbox: it brings one, which isolation must let it
    make inside.
    """

    bin: str | tuple[str, ...] = ""
    version: VersionProbe | None = None
    modes: Modes = Modes()
    argv: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
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
    budget: Budget = Budget()
    verify: str | tuple[str, ...] = ""
    own_sandbox: bool = False


class AdapterDocument(AdapterKeys, frozen=True, kw_only=True):
    """A file of `builtin/`. older: the keys that differ for a version below `version.min`, or one that is not told."""

    name: str
    older: AdapterKeys | None = None


class TypeDocument(AdapterKeys, frozen=True, kw_only=True):
    """A file of `agents.d`. A file of only `slug` and `mode` is complete.

    name: the same as slug. adapter: a built-in one, another file of agents.d, or `none`; where there is none, `kilo`,
    unless the file gives both `bin` and `argv`. image: the container image, for docker.
    """

    slug: str = ""
    name: str = ""
    mode: str = ""
    adapter: str = ""
    workspace_template: str = ""
    resource_limits: ResourceText = ResourceText()
    resources: ResourceText = ResourceText()
    capabilities: tuple[str, ...] = ()
    secrets_dir: str = ""
    shared_cache: str = ""
    isolate_with: Literal["none", "bubblewrap", "docker"] = "none"
    shared_network: bool = False
    image: str = ""


class Definition(AdapterKeys, frozen=True, kw_only=True):
    """One kind of agent: the file over its adapter; after `registration.resolve` also bound to a program.

    source: the file, or `built-in`. older: the keys to replace if the program is an older one, {} once resolved.
    executable: absolute path, "" until resolved; found_version: "" where it is not told; path: the PATH of the
    caller, which the program's own interpreter may need; known_modes: what it listed, () where that is not known;
    stamp: of its file then, so that a program that was replaced is asked again. Paths are absolute. Holds no secret,
    only their names.
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
    image: str = ""
    older: dict[str, object] = {}
    executable: str = ""
    found_version: str = ""
    path: str = ""
    known_modes: tuple[str, ...] = ()
    stamp: str = ""

    @property
    def private_home(self) -> bool:
        """Whether HOME is the agent's own: asked for, or because it is isolated."""
        return self.home == "agent" or self.isolate_with != "none"

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


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a file of `agents.d`, for editors that complete and check YAML by it."""
    schema = msgspec.json.schema(TypeDocument)
    scalars = {"type": ["string", "number", "boolean"]}
    for part in schema["$defs"].values():
        part.pop("title", None)
        part["additionalProperties"] = False
        for option in _options(part["properties"]):
            if option.get("additionalProperties") == {"type": "string"}:
                option["additionalProperties"] = scalars  # taken as they are written
    schema["$defs"]["TypeDocument"]["anyOf"] = [{"required": ["slug"]}, {"required": ["name"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Maestro agent type", **schema}


def _options(properties: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each form that a key may have."""
    for kind in properties.values():
        yield kind
        yield from kind.get("anyOf", ())
