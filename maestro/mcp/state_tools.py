"""The tools on the state that agents share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from maestro.mcp.answers import GLANCE_CHARS_MAX, VALUE_CHARS_MAX, Deleted, Value, Values, cut, further, within
from maestro.mcp.requests import Requests
from maestro.runtime.protocol import messages as p

Key = Annotated[str, Field(description="the key, such as api_port")]


class StateTools:
    """Read and write keys of the shared state."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def state_get(
        self, key: Key, offset: Annotated[int, Field(description="from which character on", ge=0)] = 0
    ) -> Value:
        """Read a key of the state that all agents share. A finished task leaves its result as task:<id>:result.

        An answer holds 65536 characters of a value.
        """
        return _part((await self._requests.ask(p.StateGet(key=key))).data, offset)

    async def state_set(
        self,
        key: Key,
        value: str,
        ttl: Annotated[str, Field(description="how long it lives: 90s, 30m, 24h, 7d; 0 keeps it")] = "24h",
    ) -> Value:
        """Set a key of the state that all agents share."""
        return _part((await self._requests.ask(p.StateSet(key=key, value=value, ttl=ttl))).data)

    async def state_list(
        self,
        prefix: Annotated[str, Field(description="only keys that begin so")] = "",
        after: Annotated[str, Field(description="only keys behind this one")] = "",
        limit: Annotated[int, Field(ge=1, le=1000)] = 100,
    ) -> Values:
        """List keys of the state that all agents share, with the beginnings of their values."""
        rows = (await self._requests.ask(p.StateList(prefix=prefix))).rows
        rows = sorted((row for row in rows if row["key"] > after), key=lambda row: str(row["key"]))
        shown = [Value.model_validate(row | {"value": cut(row["value"], GLANCE_CHARS_MAX)}) for row in rows]
        kept = within(shown, limit)
        way = f"call again with after={kept[-1].key!r}, or a longer prefix" if kept else ""
        return Values(values=kept, further=further(len(rows) - len(kept), "keys", way))

    async def state_delete(self, key: Key) -> Deleted:
        """Delete a key of the state that all agents share."""
        return Deleted.model_validate((await self._requests.ask(p.StateDelete(key=key))).data)


def _part(row: dict[str, Any], offset: int = 0) -> Value:
    """A key with the part of its value that begins there, as far as an answer holds it."""
    value = str(row["value"])
    end = offset + VALUE_CHARS_MAX
    told = further(len(value) - end, "characters", f"state_get with offset={end}")
    return Value.model_validate(row | {"value": value[offset:end], "further": told})
