"""The registry as YAML: the types and agents at a position, for people and for `agent assign`.

It is a copy for reading. A restore takes its data from the events.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import yaml

from maestro.documents.yaml_tree import Limits, Node, read, truth
from maestro.model.agent import Agent, AgentType
from maestro.model.errors import Invalid, VerificationFailed
from maestro.model.ids import shown

LIMITS = Limits(bytes_max=1 << 24, depth_max=64, nodes_max=300_000)


class RegisteredType(msgspec.Struct, frozen=True):
    """A type as it was registered. source: the file that it came from."""

    slug: str
    definition: dict[str, Any]
    source: str = ""


class RegisteredAgent(msgspec.Struct, frozen=True):
    """An agent as it was assigned. workspace, node: None where it had none of its own."""

    id: str
    type: str
    role: str
    priority: int
    workspace_root: str
    workspace: str | None = None
    node: str | None = None


class Registry(msgspec.Struct, frozen=True):
    """All types and agents, by name."""

    types: list[RegisteredType]
    agents: list[RegisteredAgent]


class _Dumper(yaml.SafeDumper):
    """A YAML dumper without anchors and aliases: each value is written out where it stands."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Quoted, so that no YAML reader takes a text for a number.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Dumper.add_representer(str, _text)


def registry_of(rows: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Registry:
    """The registry in rows of the view `agents`."""
    types: list[RegisteredType] = []
    agents: list[RegisteredAgent] = []
    for _, row in sorted(dict(rows).items()):
        match row:
            case AgentType():
                types.append(RegisteredType(row.slug, row.definition, row.source))
            case Agent():
                place = (row.workspace_root, row.workspace, row.node)
                agents.append(RegisteredAgent(row.id, row.type, row.role, row.priority, *place))
    return Registry(types, agents)


def written(registry: Registry) -> bytes:
    """The registry as YAML, the same bytes each time."""
    return yaml.dump(msgspec.to_builtins(registry), Dumper=_Dumper, encoding="utf-8", allow_unicode=True, width=120)


def parsed(text: bytes, where: str) -> Registry:
    """The registry in a YAML text from an untrusted source. Raises Invalid naming the line."""
    document = read(text, where, LIMITS)
    try:
        return msgspec.convert(_plain(document.root), Registry)
    except msgspec.ValidationError as error:
        raise Invalid(str(error), where) from None


def check_apart(places: Iterable[tuple[str, str | None, str | None]], where: str) -> None:
    """Check that no two agents have the same workspace, as only one may write to it.

    places: (agent, node, workspace) of each agent. Raises VerificationFailed naming two agents. A log may contain such
    agents, assigned at the same time by an early build.
    """
    holders: dict[tuple[str | None, str], str] = {}
    for agent, node, workspace in places:
        if workspace is None:
            continue
        other = holders.setdefault((node, os.path.normpath(workspace)), agent)
        if other != agent:
            what = f"the agents {shown(other)} and {shown(agent)} have the same workspace {shown(workspace)}"
            raise VerificationFailed(what, where, "restore one of them with --workspace, or use another snapshot")


def _plain(node: Node) -> Any:
    match node.kind:
        case "map":
            return {key: _plain(value) for key, value in node.entries.items()}
        case "list":
            return [_plain(item) for item in node.items]
        case "null":
            return None
        case "bool":
            return truth(node)
        case "int":
            return int(node.text)
        case "float":
            return float(node.text)
    return node.text
