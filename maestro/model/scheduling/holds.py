"""The holds of workspaces: an instance of a workflow's step keeps its own from the archive before it to its end."""

from __future__ import annotations

from maestro.model.scheduling.lanes import Holder
from maestro.model.scheduling.sites import Place


class Holds:
    """Who holds which workspace. Of several that want one, the first has it, then the next."""

    def __init__(self) -> None:
        self._places: dict[Holder, Place] = {}
        self._holders: dict[Place, dict[Holder, None]] = {}
        self._of_run: dict[str, dict[Holder, None]] = {}

    def of(self, holder: Holder) -> Place | None:
        """The workspace that an instance holds, or waits to hold; None for none."""
        return self._places.get(holder)

    def holder(self, place: Place) -> Holder | None:
        """The instance that has a workspace, None where nobody holds it."""
        return next(iter(self._holders.get(place, ())), None)

    def keeps_out(self, place: Place, holder: Holder) -> bool:
        """Whether somebody else holds a workspace. holder: who wants to work there."""
        first = self.holder(place)
        return first is not None and first != holder

    def begin(self, holder: Holder, place: Place) -> dict[Holder, Place]:
        """Have an instance hold a workspace; what it has held instead until now, if anything."""
        if self._places.get(holder) == place:
            return {}
        left = self.end(holder)
        self._places[holder] = place
        self._holders.setdefault(place, {})[holder] = None
        self._of_run.setdefault(holder[0], {})[holder] = None
        return left

    def end(self, holder: Holder) -> dict[Holder, Place]:
        """Have an instance hold nothing; what it has held."""
        place = self._places.pop(holder, None)
        if place is None:
            return {}
        del self._holders[place][holder]
        if not self._holders[place]:
            del self._holders[place]
        del self._of_run[holder[0]][holder]
        if not self._of_run[holder[0]]:
            del self._of_run[holder[0]]
        return {holder: place}

    def end_all(self, run: str) -> dict[Holder, Place]:
        """Have nothing of a run hold anything; what its instances have held."""
        ended: dict[Holder, Place] = {}
        for holder in list(self._of_run.get(run, ())):
            ended |= self.end(holder)
        return ended
