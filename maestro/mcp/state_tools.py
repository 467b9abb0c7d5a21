"""The tools on the state that agents share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from maestro.mcp.answers import GLANCE_CHARS_MAX, Deleted, Value, Values, cut
from maestro.mcp.requests import Requests
from maestro.runtime.protocol import messages as p

Key = Annotated[str, Field(description="the key, such as api_port")]


class StateTools:
    """Read and write keys of the shared state."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def state_get(self, key: Key) -> Value:
        """Read a key of the state that all agents share. A finished task leaves its result as task:<id>:result."""
        return Value.model_validate((await self._requests.ask(p.StateGet(key=key))).data)

    async def state_set(
        self,
        key: Key,
        value: str,
        ttl: Annotated[str, Field(description="how long it lives: 90s, 30m, 24h, 7d; 0 keeps it")] = "24h",
    ) -> Value:
        """Set a key of the state that all agents share."""
        return Value.model_validate((await self._requests.ask(p.StateSet(key=key, value=value, ttl=ttl))).data)

    async def state_list(self, prefix: Annotated[str, Field(description="only keys that begin so")] = "") -> Values:
        """List keys of the state that all agents share, with the beginnings of their values."""
        rows = (await self._requests.ask(p.StateList(prefix=prefix))).rows
        return Values(
            values=[Value.model_validate(row | {"value": cut(row["value"], GLANCE_CHARS_MAX)}) for row in rows]
        )

    async def state_delete(self, key: Key) -> Deleted:
        """Delete a key of the state that all agents share."""
        return Deleted.model_validate((await self._requests.ask(p.StateDelete(key=key))).data)
