"""From a type's name to a definition bound to this machine, in the caller's environment."""

from __future__ import annotations

from pathlib import Path

import trio

from maestro import config
from maestro.agents import definitions, registration
from maestro.agents.definitions import Definition
from maestro.config import Settings
from maestro.runtime.node.context import Call
from maestro.runtime.provision import containment


def caller_settings(call: Call) -> Settings:
    """The settings of the caller's environment, which assignments record. Raises Invalid."""
    return config.load(call.caller.env, Path(call.caller.cwd))


async def resolve_type(call: Call, slug: str) -> tuple[Definition, Settings]:
    """The definition of a type, resolved. Raises NotFound, Invalid, Refused."""
    settings = caller_settings(call)

    def work() -> Definition:
        return bind(call, definitions.load(slug, settings.agents_dirs), settings)

    return await trio.to_thread.run_sync(work), settings


def bind(call: Call, definition: Definition, settings: Settings) -> Definition:
    """A definition resolved for the caller. Blocks while programs are asked for their version."""
    containment.check(definition)
    site = registration.Site(caller_env(call, settings), call.caller.cwd, str(settings.workspace_root))
    return registration.resolve(definition, site)


def caller_env(call: Call, settings: Settings) -> dict[str, str]:
    """The caller's environment, with the setting that names a program."""
    return {**call.caller.env, "MAESTRO_KILOCODE_BIN": settings.kilocode_bin}
