"""Patience of what is under way: how long each of its calls waits for a store that is away, instead of failing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

patience_s: ContextVar[float] = ContextVar("patience_s", default=0.0)
"""Seconds; 0 where a call fails at once, as its user repeats it."""


@contextmanager
def patiently(limit_s: float) -> Iterator[None]:
    """Have each call of the store within wait for it while it is away, `limit_s` seconds at most.

    For what nobody repeats where it fails: a command that another node has asked for begins once, and is then answered;
    so does a run. And for what must not stay half done, from where it cannot be taken back any more.
    """
    token = patience_s.set(limit_s)
    try:
        yield
    finally:
        patience_s.reset(token)
