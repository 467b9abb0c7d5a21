"""Commands about agents and their types."""

from __future__ import annotations

from maestro.runtime.protocol.commands import Command


class AgentRegister(Command, frozen=True, tag_field="kind", tag="agent register"):
    """Register agent types. With `type` or `definition`: Data: type row. Else all in agents.d: Items: type rows."""

    type: str | None = None
    definition: str | None = None  # YAML text of --file
    file: str | None = None  # its path, for messages


class AgentAssign(Command, frozen=True, tag_field="kind", tag="agent assign"):
    """Create an agent, or change its assignment. Data: agent row."""

    type: str
    to_workspace: str | None = None  # absolute
    role: str | None = None
    priority: int | None = None
    name: str | None = None
    node: str | None = None
    force: bool = False


class AgentList(Command, frozen=True, tag_field="kind", tag="agent list"):
    """List agents. Items: agent rows.

    Row: {id, type, state, role, priority, workspace, node, task, heartbeat_age_s, ...}.
    """

    status: str = "all"


class AgentHealth(Command, frozen=True, tag_field="kind", tag="agent health"):
    """Check an agent. Data: {id, status: healthy|unhealthy, checks: [{name, ok, detail}], log: [line],
    log_truncated, ...}.

    Exit code 0 when healthy, else 1. log: of the lines asked for, the last 64 KiB.
    """

    id: str
    detail: bool = False
    log_lines: int = 10


class AgentStop(Command, frozen=True, tag_field="kind", tag="agent stop"):
    """Stop an agent. Data: agent row."""

    id: str
    force: bool = False


class AgentRestart(Command, frozen=True, tag_field="kind", tag="agent restart"):
    """Let a stopped or failed agent work again. Data: agent row."""

    id: str


class AgentReset(Command, frozen=True, tag_field="kind", tag="agent reset"):
    """Stop an agent and create its workspace again. Data: agent row."""

    id: str


class AgentLogs(Command, frozen=True, tag_field="kind", tag="agent logs"):
    """The output of an agent's current or last run, as Output frames.

    end: at most so many bytes, the last ones, as they are now; 0 for all, or what the other fields say.
    """

    id: str
    follow: bool = False
    lines: int | None = None
    end: int = 0


class RunLog(Command, frozen=True, tag_field="kind", tag="run log"):
    """A run's output, for another node, as it comes: as in `AgentLogs`;."""

    run: str
    lines: int | None = None
    end: int = 0
    follow: bool = False


class AgentTypes(Command, frozen=True, tag_field="kind", tag="agent types"):
    """List agent types. Items: {slug, valid, usable, reason, lacks: [line], binary, version, modes, adapter, mode,
    capabilities, source}. With `show` Data: {slug, source, keys, origins: {path: place}, older}.

    usable: the definition is valid and its program exists; with `check` also that its secrets are there, and that its
    program knows its arguments. What a run only seems to lack is among `lacks`, and no reason to be unusable.
    version: null where it is not known; `check` runs the probes.
    show: the slug of a type, whose effective definition is told instead.
    """

    check: bool = False
    show: str | None = None
