"""One handler for each command, found by the command's struct."""

from __future__ import annotations

from maestro.runtime import protocol as p
from maestro.runtime.handlers import (
    agents,
    assignments,
    dispatching,
    doctor,
    events,
    health,
    nodes,
    queues,
    replays,
    restores,
    snapshots,
    states,
    stores,
    tasks,
    types,
    workspaces,
)
from maestro.runtime.server import Handler

HANDLERS: dict[type[p.Command], Handler] = {
    **agents.HANDLERS,
    **assignments.HANDLERS,
    **dispatching.HANDLERS,
    **doctor.HANDLERS,
    **events.HANDLERS,
    **health.HANDLERS,
    **nodes.HANDLERS,
    **queues.HANDLERS,
    **replays.HANDLERS,
    **restores.HANDLERS,
    **snapshots.HANDLERS,
    **states.HANDLERS,
    **stores.HANDLERS,
    **tasks.HANDLERS,
    **types.HANDLERS,
    **workspaces.HANDLERS,
}
