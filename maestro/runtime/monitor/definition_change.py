"""The change of a definition since an agent was assigned: its file, or its adapter, says something else by now.

Each command that shows or uses an agent looks, so a look costs a few calls of stat: YAML is read only where a file was
changed after the assignment, and once for each change.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import maestro.agents
from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition

MARGIN_MS = 5000
"""How far the clock of this host may be behind that of the store, which tells the time of the assignment."""
_BUILT_IN = Path(maestro.agents.__file__).parent / "builtin"
_known: dict[str, tuple[object, str]] = {}
"""Agent -> what was looked at (the agent's version, the files' stamps), and what was found."""


class Stamps(NamedTuple):
    """What the files of a definition look like. newest: when the youngest was changed, ms; gone: the own one is."""

    found: tuple[tuple[int, int, int], ...]
    newest: int
    gone: bool


def stamps_of(files: tuple[str, ...], own: bool) -> Stamps:
    """What these files look like now. own: the first is the definition's own. Blocks."""
    stamps = [_stamp(file) for file in files]
    found = tuple(stamp for stamp in stamps if stamp is not None)
    return Stamps(found, max((at for at, *_ in found), default=0), own and stamps[0] is None)


def change(agent: Agent, dirs: Sequence[Path], stamped: Callable[[tuple[str, ...], bool], Stamps] = stamps_of) -> str:
    """What is different by now, in words with the command that takes it; "" where nothing is. dirs: of definitions.

    stamped: as `stamps_of`; of many agents at once, one that remembers. Blocks while it reads.
    """
    recorded = AgentDefinition(agent.definition)
    files = _files(agent.type, recorded.adapter, recorded.source, tuple(dirs))
    stamps = stamped(files, recorded.source.startswith("/"))
    # another file may count now, however old that is, where its own is gone
    if not stamps.gone and (not stamps.found or stamps.newest <= agent.assigned_at - MARGIN_MS):
        return ""
    looked = (agent.version, stamps.found)
    if agent.id not in _known or _known[agent.id][0] != looked:
        _known[agent.id] = (looked, _read(agent, dirs))
    return _known[agent.id][1]


@functools.lru_cache(maxsize=4096)
def _files(slug: str, adapter: str, source: str, dirs: tuple[Path, ...]) -> tuple[str, ...]:
    """The files that a type's definition is made of, and those that would take their place."""
    own = (source,) if source.startswith("/") else ()
    folders = (*map(str, dirs), *map(os.path.dirname, own), str(_BUILT_IN))
    named = [f"{folder}/{name}.yaml" for folder in folders for name in (slug, adapter) if name]
    return tuple(dict.fromkeys((*own, *named)))


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - asked for each agent of a list, and pathlib takes three times as long
    except OSError:
        return None
    return found.st_ctime_ns // 1_000_000, found.st_size, found.st_ino


def _read(agent: Agent, dirs: Sequence[Path]) -> str:
    from maestro.agents import definitions, registration
    from maestro.model.errors import MaestroError, NotFound

    try:
        recorded = definitions.Definition.from_dict(agent.definition)
        keys = registration.differences(recorded, definitions.reload(recorded, dirs))
    except NotFound:
        return ""  # its file is gone, and nothing has taken its place: it works on as it did
    except MaestroError as error:
        return f"the definition that agent {agent.id} works by cannot be read any more: {error.line()}"
    if not keys:
        return ""
    what = f"the definition of agent {agent.id} has changed since ({', '.join(keys)})"
    return f"{what}: maestro agent register {agent.type} takes it"
