"""Refusals of a server that can be reached: it is busy, takes no writes, or another node of the cluster is meant."""

from __future__ import annotations

from maestro.model.errors import StoreAway


class ServerBusy(StoreAway):
    """The server is reachable but busy (loading, a long script): nothing was executed, ask again soon."""


class WritesRefused(StoreAway):
    """The server is reachable but refuses writes: nothing was executed, and retrying fails until someone repairs it."""


class Moved(StoreAway):
    """The namespace lives on another node of the cluster. address: host:port."""

    def __init__(self, what: str, address: str) -> None:
        super().__init__(what)
        self.address = address
