"""What a definition of a workflow must know of types of agents: which there are, and what runs of them tell and can."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from maestro.agents import definitions
from maestro.agents.definitions import Definition, Dirs
from maestro.model.errors import MaestroError


class KnownTypes(msgspec.Struct, frozen=True):
    """Types by slug. silent: those that tell no usage; resuming: those that can go on with a session."""

    all: frozenset[str]
    silent: frozenset[str] = frozenset()
    resuming: frozenset[str] = frozenset()


def known_types(dirs: Dirs, wanted: Collection[str]) -> KnownTypes:
    """The types of these folders, and the built-in ones; what they can of those that are wanted, where they are valid.

    wanted: names, which may be of types or of anything else.
    """
    every = frozenset(info.slug for info in definitions.types(dirs))
    found: dict[str, Definition] = {}
    for slug in every.intersection(wanted):
        try:
            found[slug] = definitions.load(slug, dirs)
        except MaestroError:  # a file that is not valid is told where an agent of it is to be made
            continue
    return with_agents(KnownTypes(every), found)


def with_agents(known: KnownTypes, recorded: dict[str, Definition]) -> KnownTypes:
    """The types with what recorded definitions say of theirs, by slug."""
    silent = {slug for slug, one in recorded.items() if not one.output.usage_told}
    resuming = {slug for slug, one in recorded.items() if one.resume is not None}
    return KnownTypes(
        known.all | recorded.keys(),
        (known.silent - recorded.keys()) | silent,
        (known.resuming - recorded.keys()) | resuming,
    )
