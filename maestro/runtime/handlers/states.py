"""The handlers of `state set|get|list|delete`: keys shared between agents and people."""

from __future__ import annotations

from maestro.model.errors import NotFound
from maestro.model.events import NewEvent
from maestro.model.ids import shown
from maestro.model.state import check_key, decide_delete, decide_set
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.results import told_value
from maestro.runtime.server.rows import Row, state_row


async def set_key(call: Call, command: p.StateSet) -> p.Done:
    """Set a key: the last one wins."""
    context = call.context
    decide_set(command.key, "", command.ttl)
    value = await context.keep(command.value)

    async def decision() -> list[NewEvent]:
        return decide_set(command.key, value, command.ttl)

    await context.decide(call, decision)
    return p.Done(await _shown(call, command.key))


async def get_key(call: Call, command: p.StateGet) -> p.Done:
    """Answer with one key. Raises NotFound."""
    return p.Done(await _shown(call, command.key))


async def list_keys(call: Call, command: p.StateList) -> p.Done:
    """List all keys with a prefix, by name."""
    context = call.context
    now = await context.now()
    for row in await context.rows(context.views.state_list, command.prefix, now):
        await call.item(state_row(row, await told_value(context, row)))
    return p.Done()


async def delete_key(call: Call, command: p.StateDelete) -> p.Done:
    """Delete a key. Raises NotFound."""
    context = call.context
    now = await context.now()

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.state, command.key, now)
        return decide_delete(command.key, row, now, await context.floor())

    await context.decide(call, decision)
    return p.Done({"key": command.key, "deleted": True})


async def _shown(call: Call, key: str) -> Row:
    context = call.context
    check_key(key)
    now = await context.now()
    row = await context.row(context.views.state, key, now)
    if row is None:
        raise NotFound(f"there is no state key {shown(key)}", mend="maestro state list shows all", sought=("key", key))
    return state_row(row, await told_value(context, row))


HANDLERS: dict[type[p.Command], Handler] = {
    p.StateSet: set_key,
    p.StateGet: get_key,
    p.StateList: list_keys,
    p.StateDelete: delete_key,
}
