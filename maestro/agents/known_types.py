"""What a definition of a workflow must know of types of agents: which there are, and what runs of them tell and can."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from maestro.agents import definitions
from maestro.agents.definitions import Definition, Dirs
from maestro.model.errors import MaestroError


class KnownTypes(msgspec.Struct, frozen=True):
    """Types by slug. silent: those that tell no usage; resuming: those that can go on with a session.

    guarded: those that say that they are guarded by failsafe mode; bare: those that say that they are not.
    """

    all: frozenset[str]
    silent: frozenset[str] = frozenset()
    resuming: frozenset[str] = frozenset()
    guarded: frozenset[str] = frozenset()
    bare: frozenset[str] = frozenset()

    def in_failsafe(self, mode: bool) -> frozenset[str]:
        """The types whose workspaces go back after a bad run. mode: MAESTRO_FAILSAFE_MODE."""
        return self.all - self.bare if mode else self.guarded


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
    guarded = {slug for slug, one in recorded.items() if one.failsafe is True}
    bare = {slug for slug, one in recorded.items() if one.failsafe is False}
    return KnownTypes(
        known.all | recorded.keys(),
        (known.silent - recorded.keys()) | silent,
        (known.resuming - recorded.keys()) | resuming,
        (known.guarded - recorded.keys()) | guarded,
        (known.bare - recorded.keys()) | bare,
    )
