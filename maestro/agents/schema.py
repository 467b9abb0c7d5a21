"""The keys of a definition and of an adapter, as structs; `parts.py` has the mappings in them.

`json_schema` gives the same to editors. What this build cannot carry out, `registration` refuses, so that nothing ever
runs less isolated, or judged more kindly, than its file asks.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from maestro.agents.parts import (
    Acp,
    AgentFile,
    Budget,
    Delegate,
    Modes,
    Output,
    Prompt,
    Requirement,
    Resources,
    ResourceText,
    Resume,
    RunLimits,
    Schema,
    Stop,
    Success,
    VersionProbe,
)
from maestro.documents.json_schema import json_schema
from maestro.model.errors import Invalid


class AdapterKeys(Schema, frozen=True, kw_only=True):
    """The keys that say how a program is driven: an adapter sets them, a definition may override them.

    bin: a path, a name on PATH, `${VARIABLE}`, or a list of them of which the first that is there is taken. args: more
    arguments: a model, say; args_before: where in `argv` they are put, as `before` of `resume` says it. verify: a
    command that must exit 0 in the workspace after a good end: a text for the shell, or a list of arguments.
    own_sandbox: the program brings one, which isolation must let it make inside. transport: `acp` where it is driven by
    the Agent Client Protocol, as the key `acp` says. requires: what a run needs, for `agent types --check`. trial:
    arguments that, put behind those of a run, make the program read all of them and end without any work.
    """

    bin: str | tuple[str, ...] = ""
    version: VersionProbe | None = None
    modes: Modes = Modes()
    argv: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    args_before: str = "prompt"
    prompt: Prompt = Prompt()
    cwd: str = "{workspace}"
    env: dict[str, str] = msgspec.field(default_factory=dict)
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
    transport: Literal["cli", "acp"] = "cli"
    acp: Acp = Acp()
    requires: tuple[Requirement, ...] = ()
    trial: tuple[str, ...] = ()


class AdapterDocument(AdapterKeys, frozen=True, kw_only=True):
    """A file of `builtin/`. older: the keys that differ for a version below `version.min`, or one that is not told."""

    name: str
    older: AdapterKeys | None = None


class TypeDocument(AdapterKeys, frozen=True, kw_only=True):
    """A file of `agents.d`. A file of only `slug` and `mode` is complete.

    name: the same as slug. adapter: a built-in one, another file of agents.d, or `none`; where there is none, `kilo`,
    unless the file gives both `bin` and `argv`. image: the container image, for docker. failsafe: whether the workspace
    goes back after a bad run, whatever MAESTRO_FAILSAFE_MODE says. delegate: what runs may dispatch.
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
    failsafe: bool | None = None
    delegate: Delegate | None = None


class Definition(AdapterKeys, frozen=True, kw_only=True):
    """A kind of agent: a file of `agents.d` over its adapter; after `registration.resolve` also bound to a program.

    source: the file, or `built-in`. older: the keys to replace if the program is an older one, {} once resolved.
    executable: absolute path, "" until resolved; found_version: "" where it is not told; path: the PATH of the caller,
    which the program's own interpreter may need; known_modes: what it listed, () where that is not known; stamp: of its
    file then, so that a program that was replaced is asked again. Paths are absolute. Holds no secret, only their
    names.
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
    failsafe: bool | None = None
    delegate: Delegate | None = None
    older: dict[str, object] = msgspec.field(default_factory=dict)
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
        """The mode, by the program's own name for it."""
        return self.modes.map.get(self.mode, self.mode)

    def to_dict(self) -> dict[str, Any]:
        """The definition as JSON data with every key written out, so that later defaults do not change what was
        recorded.
        """
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Definition:
        """A definition from what `to_dict` wrote; keys of later builds are left out. Raises Invalid for other data."""
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise Invalid(f"the recorded definition cannot be read: {error}", mend="assign the agent again") from None

    def older_form(self) -> Definition:
        """The definition as it is for a program older than `version.min`."""
        return Definition.from_dict({**self.to_dict(), **self.older, "older": {}})


def type_schema() -> dict[str, Any]:
    """The JSON Schema of a file of `agents.d`, for editors that complete and check YAML by it."""
    schema = json_schema(TypeDocument, "Maestro agent type")
    schema["$defs"]["TypeDocument"]["anyOf"] = [{"required": ["slug"]}, {"required": ["name"]}]
    return schema
