"""`maestro` in a process for which the store is away once: `python -m tests.runtime.failing <words>`.

AWAY names where, as `module:function`, several with a comma: the first call of the store that each of these functions
makes, or has made, finds the store away. They are coroutines.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from maestro.__main__ import main
from maestro.model.errors import StoreAway
from maestro.store.gateway import Gateway

fails: ContextVar[list[str] | None] = ContextVar("fails", default=None)
"""The point within which this is, until a call has failed for it."""


def within(real: Callable[..., Awaitable[Any]], point: str) -> Callable[..., Awaitable[Any]]:
    left = [point]

    async def call(*args: object, **named: object) -> Any:
        token = fails.set(left)
        try:
            return await real(*args, **named)
        finally:
            fails.reset(token)

    return call


def failing(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def call(*args: object, **named: object) -> Any:
        if left := fails.get():
            sys.stderr.write(f"the store is away once: {left.pop()}\n")
            raise StoreAway("as the test wants it")
        return await real(*args, **named)

    return call


if __name__ == "__main__":
    Gateway.call = failing(Gateway.call)  # type: ignore[method-assign]
    for name in os.environ["AWAY"].split(","):
        module, _, path = name.partition(":")
        holder: Any = importlib.import_module(module)
        *parts, last = path.split(".")
        for part in parts:
            holder = getattr(holder, part)
        setattr(holder, last, within(getattr(holder, last), name))
    sys.argv[0] = "maestro"
    main()
