"""The handlers of `config set`, and of what `config show` tells of the namespace."""

from __future__ import annotations

from maestro.model.events import NewEvent
from maestro.model.settings.namespace_setting import DEFAULTS, Setting, decide_change, number
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import Row


async def change(call: Call, command: p.SettingSet) -> p.Done:
    """Change a setting. Raises Invalid for an unknown one, and for a value that it cannot have."""
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.setting, command.key)
        return decide_change(command.key, command.value, row, await context.floor())

    await context.decide(call, decision)
    return p.Done(await _shown(context, command.key))


async def tell(call: Call, _command: p.SettingList) -> p.Done:
    """List the settings of the namespace."""
    for key in DEFAULTS:
        await call.item(await _shown(call.context, key))
    return p.Done()


async def _shown(context: Context, key: str) -> Row:
    row: Setting | None = await context.row(context.views.setting, key)
    is_set = row is not None and row.value != ""
    source = f"namespace {context.settings.namespace}, event {row.version}" if row and is_set else "default"
    return {"name": key, "value": number(key, row), "source": source}


HANDLERS: dict[type[p.Command], Handler] = {p.SettingSet: change, p.SettingList: tell}
