"""What this node appends of its part of a restore over several, and what the log says is to become of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence

from maestro.model.agent import Agent
from maestro.model.coordination import part_reports
from maestro.model.coordination.restore_parts import Restore, RestoreOptions, options_of
from maestro.model.events import NewEvent, RestorePartFailed
from maestro.runtime.node.contention import Race
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.restores.journal import BegunRestore
from maestro.runtime.restores.stop_reason import why_stopped
from maestro.store.contract import Committed
from projections.lineage import find_cuts

ENDED = "its daemon ended before the decision"


async def look(context: Context, restore: str) -> Restore | None:
    """The restore as the log tells of it by now; None for one that is not over several nodes."""
    return await context.row(context.views.restore, restore)


async def last_cut(context: Context) -> int:
    """The position of the last `restore.done`, 0 for none."""

    def work() -> int:
        store = context.store
        floor = store.log.head().floor
        cuts = find_cuts(store.log, floor) if floor else []
        return cuts[-1].at if cuts else 0

    return await context.call(work)


async def owes(context: Context, row: Restore | None) -> bool:
    """Whether this node has to exchange its part."""
    if row is None or not part_reports.owes(row, context.node, 0):
        return False
    return part_reports.owes(row, context.node, await last_cut(context))


async def options(context: Context, row: Restore) -> RestoreOptions:
    """What the user asked for besides."""
    return options_of(await context.text(row.options))


async def tell(context: Context, row: Restore, decide: Callable[[Restore | None, int], Sequence[NewEvent]]) -> bool:
    """Append what a node says of its part, decided on the restore as it is then; whether there was anything to say."""
    race = Race(f"restore {row.id} keeps changing")
    while True:
        events = decide(await look(context, row.id), await context.floor())
        if not events:
            return False
        if isinstance(await context.append(events, f"node:{context.node}", row.cause), Committed):
            return True
        await race.lost()


async def tell_failed(context: Context, row: Restore, why: str, given_up: bool = False) -> bool:
    """Say that this node's part cannot be done, or that its asker gives it up; whether that came in time."""
    fact = RestorePartFailed(row.id, context.node, why, given_up)
    return await tell(context, row, lambda now, floor: part_reports.decide_part_failed(now, fact, floor))


async def tell_placed(context: Context, row: Restore, begun: BegunRestore, skipped: Mapping[str, str]) -> bool:
    """Say that this node's part is exchanged, with what could not be, and let its agents take work again.

    skipped: workspaces that could not be staged behind the decision, with why.
    """
    lost = set(begun.broken_off.left)
    left = {
        each.workspace: _told(row, context.node, each.workspace, each.why_lost)
        for each in begun.targets
        if each.workspace in lost
    }
    left |= {place: _told(row, context.node, place, why) for place, why in skipped.items()}
    done = tuple(each.workspace for each in begun.targets if each.workspace not in left)
    wanted, race = await options(context, row), Race(f"restore {row.id} keeps changing")
    while True:
        agents = {each.id: each for each in await context.rows(context.views.agents)}
        placing = part_reports.Placing(done, left, agents, await whys(context, agents.values()))
        now, floor, cut = await look(context, row.id), await context.floor(), await last_cut(context)
        events = part_reports.decide_placed(now, wanted, context.node, placing, floor, cut)
        if not events:
            return False
        if isinstance(await context.append(events, f"node:{context.node}", row.cause), Committed):
            return True
        await race.lost()


async def whys(context: Context, agents: Iterable[Agent]) -> dict[str, str]:
    """The reason of the last stop of each of these agents that is stopped."""
    return {each.id: await why_stopped(context, each) for each in agents if each.stopped}


def _told(row: Restore, node: str, workspace: str, why: str) -> str:
    part = row.part(node)
    found = next((each for each in part.placements if each.workspace == workspace), None) if part is not None else None
    source = found.snapshot if found is not None else row.source
    command = f"maestro state restore {shlex.quote(source)} --workspace {shlex.quote(workspace)}"
    return f"{workspace}: {why}; `{command}` brings it back"


async def end_part(context: Context, begun: BegunRestore) -> None:
    """End the part that an earlier process of this node had begun: its exchange is carried out or undone by now.

    Before the decision it fails. Behind it, a part that was exchanged is told; one that was not is still owed.
    """
    row = await look(context, begun.restore)
    if row is None:
        return
    if not row.decided:
        if await tell_failed(context, row, ENDED):
            log.info("restore %s: the part of this node was broken off before the decision", row.id)
        return
    if begun.broken_off.is_done and await tell_placed(context, row, begun, {}):
        log.info("restore %s: the part of this node is complete now", row.id)
