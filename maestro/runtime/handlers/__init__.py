"""Handlers: a function for each command, found by the command's struct; it reads, decides, appends and answers."""

from __future__ import annotations

from maestro.runtime.handlers import (
    agents,
    assignments,
    dispatch,
    doctor,
    events,
    flush,
    health,
    nodes,
    queues,
    replays,
    restores,
    snapshots,
    states,
    tasks,
    types,
    workspaces,
)
from maestro.runtime.node.context import Handler
from maestro.runtime.protocol import messages as p

HANDLERS: dict[type[p.Command], Handler] = {
    **agents.HANDLERS,
    **assignments.HANDLERS,
    **dispatch.HANDLERS,
    **doctor.HANDLERS,
    **events.HANDLERS,
    **health.HANDLERS,
    **nodes.HANDLERS,
    **queues.HANDLERS,
    **replays.HANDLERS,
    **restores.HANDLERS,
    **snapshots.HANDLERS,
    **states.HANDLERS,
    **flush.HANDLERS,
    **tasks.HANDLERS,
    **types.HANDLERS,
    **workspaces.HANDLERS,
}
