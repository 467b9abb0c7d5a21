"""The refusal of a request for what it is, with the status of its answer."""

from __future__ import annotations

from maestro.model.errors import MaestroError


class Unfit(MaestroError):
    """A request that is refused for what it is. status: the answer's; named: its code."""

    def __init__(self, status: int, named: str, what: str, mend: str = "") -> None:
        super().__init__(what, "", mend)
        self.status = status
        self.named = named
