"""Commands about agents and their types."""

from __future__ import annotations

from maestro.runtime.protocol.commands import Command


class AgentRegister(Command, frozen=True, tag_field="kind", tag="agent register"):
    """With `type` or `definition`: Data: type row. With neither, all that are in agents.d: Items: type rows."""

    type: str | None = None
    definition: str | None = None  # YAML text of --file
    file: str | None = None  # its path, for messages


class AgentAssign(Command, frozen=True, tag_field="kind", tag="agent assign"):
    """Data: agent row."""

    type: str
    to_workspace: str | None = None  # absolute
    role: str | None = None
    priority: int | None = None
    name: str | None = None
    node: str | None = None
    force: bool = False


class AgentList(Command, frozen=True, tag_field="kind", tag="agent list"):
    """Items: agent rows {id, type, state, role, priority, workspace, node, task, heartbeat_age_s, ...}."""

    status: str = "all"


class AgentHealth(Command, frozen=True, tag_field="kind", tag="agent health"):
    """Data: {id, status: healthy|unhealthy, checks: [{name, ok, detail}], log: [line], ...}; exit code 0 or 1."""

    id: str
    detail: bool = False
    log_lines: int = 10


class AgentStop(Command, frozen=True, tag_field="kind", tag="agent stop"):
    """Data: agent row."""

    id: str
    force: bool = False


class AgentRestart(Command, frozen=True, tag_field="kind", tag="agent restart"):
    """Data: agent row."""

    id: str


class AgentReset(Command, frozen=True, tag_field="kind", tag="agent reset"):
    """Data: agent row."""

    id: str


class AgentLogs(Command, frozen=True, tag_field="kind", tag="agent logs"):
    """Output frames."""

    id: str
    follow: bool = False
    lines: int | None = None


class AgentTypes(Command, frozen=True, tag_field="kind", tag="agent types"):
    """Items: {slug, valid, usable, reason, binary, version, modes, adapter, mode, capabilities, source}.

    usable: it is valid and its program is there; null version: not known without `check`, which runs the probes.
    """

    check: bool = False
