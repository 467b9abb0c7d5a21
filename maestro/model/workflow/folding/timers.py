"""Times by key, of which the earliest are found without looking at the others."""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class Timers:
    """Times in ms by key. A change costs O(log n), the earliest O(1), the keys that are due O(those)."""

    __slots__ = ("_at", "_count", "_heap")

    def __init__(self) -> None:
        self._at: dict[str, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._count = 0

    def set(self, key: str, at: int) -> None:
        """Set the time of a key, instead of one that it had."""
        known = self._at.get(key)
        if known is not None and known[0] == at:
            return
        self._count += 1
        self._at[key] = (at, self._count)
        heapq.heappush(self._heap, (at, self._count, key))
        self._forget()

    def drop(self, key: str) -> None:
        """Forget a key, if it is there."""
        if self._at.pop(key, None) is not None:
            self._forget()

    def clear(self) -> None:
        """Forget all."""
        self._at.clear()
        self._heap.clear()

    def _forget(self) -> None:
        """Take what no longer holds from the top; all of it where it is more than what holds."""
        heap = self._heap
        while heap and not self._holds(heap[0]):
            heapq.heappop(heap)
        if len(heap) > 16 + 2 * len(self._at):
            self._heap = [entry for entry in heap if self._holds(entry)]
            heapq.heapify(self._heap)

    def _holds(self, entry: tuple[int, int, str]) -> bool:
        return self._at.get(entry[2]) == entry[:2]

    @property
    def first(self) -> int | None:
        """The earliest time, None where there is none."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: int) -> Iterator[str]:
        """The keys whose time has come, the earliest first."""
        heap = self._heap
        if not heap or heap[0][0] > now:
            return
        open_places = [(heap[0], 0)]
        while open_places:
            entry, place = heapq.heappop(open_places)
            if self._holds(entry):
                yield entry[2]
            for below in (2 * place + 1, 2 * place + 2):
                if below < len(heap) and heap[below][0] <= now:
                    heapq.heappush(open_places, (heap[below], below))

    def at(self, key: str) -> int | None:
        """The time of a key, None for another one."""
        known = self._at.get(key)
        return None if known is None else known[0]

    def __contains__(self, key: object) -> bool:
        return key in self._at

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timers):
            return False
        return {key: at for key, (at, _) in self._at.items()} == {key: at for key, (at, _) in other._at.items()}

    __hash__ = None  # type: ignore[assignment]
