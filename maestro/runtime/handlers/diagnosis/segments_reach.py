"""Whether all nodes of a namespace reach one folder of sealed history: until they do, nothing is trimmed.

Each node marks in its folder that it reaches it (`replayers.sealer.note_reach`), and tells of a folder that it was
given in its sample, so that each can tell who does not share it.
"""

from __future__ import annotations

import functools

import msgspec
import trio

from maestro.runtime.node.context import Context
from replayers import sealer
from replayers.sealed import sealed_of

SETTING = "segments_dir"
MARKED_MS = 15_000
"""A daemon that has just started has not marked yet what it reaches."""
ANSWER_S_MAX = 5.0
"""A mount that hangs is not waited for."""
MEND = (
    "name one folder that all nodes reach with MAESTRO_SEGMENTS_DIR, then restart the daemons with `maestro shutdown`"
    " and `maestro up`; `maestro node forget N` gives up a node that is gone"
)


class Apart(msgspec.Struct, frozen=True):
    """The nodes that do not share this node's folder of sealed history. why: in words; meant: somebody was given a
    folder to be shared, so that it is a mistake and no default.
    """

    why: str
    meant: bool


async def apart(context: Context) -> Apart | None:
    """Who does not share the folder of this node; None where all do, or there is no other node."""
    sealed = sealed_of(context.store)
    others = [node for node in await context.rows(context.views.nodes) if node.id != context.node]
    others = [node for node in others if not node.forgotten]
    if sealed is None or not others:
        return None
    now = await context.now()
    settled = [node for node in others if node.status != "up" or now - node.joined_at > MARKED_MS]
    samples = await context.call(context.store.work.samples, [f"node:{node.id}:seen" for node in others])
    given = {
        node.id: said["segments"] for node, said in zip(others, samples, strict=True) if said and "segments" in said
    }
    is_given = context.settings.sources.get(SETTING, "default") != "default"
    missing: list[str] | None = None
    try:
        with trio.move_on_after(ANSWER_S_MAX):
            look = functools.partial(sealer.out_of_reach, sealed, settled, now)
            missing = await trio.to_thread.run_sync(look, abandon_on_cancel=True)
    except OSError as error:
        return Apart(f"{sealed.folder} cannot be read: {error.strerror}", True)
    if missing is None:
        return Apart(f"{sealed.folder} does not answer", True)
    if not missing:
        return None
    why = f"nothing is trimmed from the store until all nodes share one: node {', '.join(missing)} has not reached"
    why = f"{why} {sealed.folder}"
    if given and not is_given:
        node, folder = min(given.items())
        why = f"MAESTRO_SEGMENTS_DIR is not set here, and node {node} has {folder}; {why}"
    return Apart(why, is_given or bool(given))
