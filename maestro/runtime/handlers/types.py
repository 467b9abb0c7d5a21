"""The handler of `agent types`: every definition with its program, version and modes, or why it cannot be used."""

from __future__ import annotations

import msgspec
import trio

from maestro.agents import definitions, machine, probe, provenance, registration
from maestro.agents.definitions import Definition, TypeInfo
from maestro.config import Settings
from maestro.model.errors import MaestroError
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision import containment
from maestro.runtime.provision.type_binding import bind, caller_env, caller_settings
from maestro.runtime.server.rows import Row

PROBES_MAX = 4


async def types(call: Call, command: p.AgentTypes) -> p.Done:
    """List all definitions. With `check` each program is asked; else what was found at registration is told.

    With `show` the answer is one effective definition instead.
    """
    settings = caller_settings(call)
    if command.show is not None:
        return p.Done(await trio.to_thread.run_sync(_explained, command.show, settings))
    found = await trio.to_thread.run_sync(definitions.types, settings.agents_dirs)
    rows: dict[str, Row] = {}
    limiter = trio.CapacityLimiter(PROBES_MAX)

    async def look(info: TypeInfo, known: Definition | None) -> None:
        rows[info.slug] = await trio.to_thread.run_sync(
            _row, call, info, settings, None if command.check else (known,), limiter=limiter
        )

    async with trio.open_nursery() as nursery:
        for info in found:
            row = await call.context.row(call.context.views.type, info.slug)
            nursery.start_soon(look, info, None if row is None else Definition.from_dict(row.definition))
    for info in found:
        await call.item(rows[info.slug])
    return p.Done()


def _row(call: Call, info: TypeInfo, settings: Settings, known: tuple[Definition | None] | None) -> Row:
    """The row of one type. known: the definition as it was registered, if it was; known itself None: ask
    the program.
    """
    found, reason, usage = None, info.reason, ""
    hindrances: list[str] = []
    doubts: list[str] = []
    if info.valid:
        try:
            definition = definitions.load(info.slug, settings.agents_dirs)
            usage = definition.output.usage_told
            found = bind(call, definition, settings) if known is None else _found(call, definition, settings, known[0])
            if known is None:
                hindrances, doubts = _lacks(found, call, settings)
        except MaestroError as error:
            reason = error.line()
    if found is not None:  # an older program may have another form of output
        usage = found.output.usage_told
    modes = () if found is None else found.known_modes or found.modes.static
    return {
        "slug": info.slug,
        "valid": info.valid,
        "usable": found is not None and not hindrances,
        "reason": reason or "; ".join([*hindrances, *(f"may fail: {doubt}" for doubt in doubts)]) or None,
        "lacks": [*hindrances, *doubts],
        "binary": None if found is None else found.executable,
        "version": None if found is None else found.found_version or None,
        "modes": list(modes),
        "usage": usage or None,
        "adapter": info.adapter or None,
        "mode": info.mode or None,
        "capabilities": list(info.capabilities),
        "source": info.file,
    }


def _lacks(found: Definition, call: Call, settings: Settings) -> tuple[list[str], list[str]]:
    """What a run of a resolved definition lacks for certain, and what it seems to lack, also by what its program says
    against its arguments.
    """
    hindrances = machine.missing_secret(found, call.context.environment)
    doubts = machine.doubts(found, call.context.environment)
    said = probe.refusal(found, found.executable, caller_env(call, settings)) if found.trial else None
    if said is not None:
        (hindrances if said.is_certain else doubts).append(f"it refuses its arguments: {said.text}")
    return hindrances, doubts


def _explained(slug: str, settings: Settings) -> Row:
    """The effective definition of a type, with where each key comes from."""
    row: Row = msgspec.to_builtins(provenance.explain(slug, settings.agents_dirs))
    return row


def _found(call: Call, definition: Definition, settings: Settings, known: Definition | None) -> Definition:
    """The definition with its program, and with the version and modes of its registration if the program is the same.

    Raises what an assignment would: for a program that is not there, a containment that cannot be had.
    """
    containment.check(definition)
    executable = registration.program(definition, caller_env(call, settings), call.caller.cwd)
    found = msgspec.structs.replace(definition, executable=executable)
    if known is None or (known.executable, known.stamp) != (executable, registration.stamp(executable)):
        return found
    return msgspec.structs.replace(found, found_version=known.found_version, known_modes=known.known_modes)


HANDLERS: dict[type[p.Command], Handler] = {p.AgentTypes: types}
