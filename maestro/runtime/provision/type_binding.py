"""Binds an agent type to this machine: finds its program in the caller's environment and asks it for its version."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from maestro import config
from maestro.agents import definitions, machine, registration
from maestro.agents.definitions import Definition
from maestro.config import Settings
from maestro.model.errors import NotFound
from maestro.runtime.node.context import Call
from maestro.runtime.provision import containment


def caller_settings(call: Call) -> Settings:
    """The settings of the caller's environment, which assignments record. Raises Invalid."""
    return config.load(call.caller.env, Path(call.caller.cwd))


async def resolve_type(call: Call, slug: str) -> tuple[Definition, Settings]:
    """The definition of a type, bound to this machine, and the caller's settings. Raises NotFound, Invalid, Refused.

    A type that lies in none of the caller's folders may have been registered from a file elsewhere: that is read.
    """
    settings = caller_settings(call)
    try:
        found = await trio.to_thread.run_sync(definitions.load, slug, settings.agents_dirs)
    except NotFound:
        row = await call.context.row(call.context.views.type, slug)
        if row is None:
            raise
        found = Definition.from_dict(row.definition)
        is_elsewhere = call.forwarded and not os.path.lexists(found.source)
        if Path(found.source).is_absolute() and not is_elsewhere:  # else it came by a pipe, or from another node
            found = await trio.to_thread.run_sync(definitions.reload, found, settings.agents_dirs)
    return await trio.to_thread.run_sync(bind, call, found, settings), settings


def bind(call: Call, definition: Definition, settings: Settings) -> Definition:
    """Bind a definition to this machine for the caller. Blocks while programs are asked. Raises Refused, Invalid."""
    containment.check(definition)
    site = registration.Site(caller_env(call, settings), call.caller.cwd, str(settings.workspace_root))
    return registration.resolve(definition, site)


async def tell_notices(call: Call, definition: Definition) -> None:
    """Note what a user should know about a resolved definition: also what a run would lack, before one fails by it."""
    environment = call.context.environment
    lacking = await trio.to_thread.run_sync(machine.missing_secret, definition, environment)
    doubts = await trio.to_thread.run_sync(machine.doubts, definition, environment)
    lines = [*lacking, *(f"may fail: {doubt}" for doubt in doubts)]
    for notice in [*registration.notices(definition), *(f"type {definition.slug}: {line}" for line in lines)]:
        await call.note(notice, "warn")


def caller_env(call: Call, settings: Settings) -> dict[str, str]:
    """The caller's environment, with the setting that names kilo's program."""
    return {**call.caller.env, "MAESTRO_KILOCODE_BIN": settings.kilocode_bin}
