"""A large text of a forwarded command: it lies beside the log for some minutes, which would hold it for ever."""

from __future__ import annotations

from typing import Final

from maestro.runtime.node.context import INLINE_BYTES_MAX, Context

LASTS_MS: Final = 600_000


async def put(context: Context, name: str, text: str) -> tuple[str, bool]:
    """A text as an event carries it, and whether it lies apart, under this name; call it before the append."""
    if len(text.encode()) <= INLINE_BYTES_MAX:
        return text, False
    await context.call(context.store.work.samples_put, {name: {"text": text}}, LASTS_MS)
    return "", True


async def found(context: Context, name: str, inline: str, apart: bool) -> str | None:
    """The text that an event carries; None where it lay apart, and is gone."""
    if not apart:
        return inline
    (sample,) = await context.call(context.store.work.samples, [name])
    return sample["text"] if sample else None
