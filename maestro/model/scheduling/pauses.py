"""The pauses of workflows' runs: while one is paused, no task of its steps is released, nor of the runs below it."""

from __future__ import annotations


class Pauses:
    """Which open runs are paused, and which run each is a child of."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._paused: dict[str, str] = {}

    def begin(self, run: str, parent: str) -> None:
        """Know an open run. parent: the one that it is a child of, "" for none."""
        if parent:
            self._parents[run] = parent

    def pause(self, run: str, why: str = "asked") -> None:
        """Have a run paused. why: `asked` or `budget`."""
        self._paused[run] = why

    def why(self, run: str) -> str:
        """Why a run itself is paused, "" where it is not."""
        return self._paused.get(run, "")

    def resume(self, run: str) -> bool:
        """Have a run go on, or end; whether it was paused."""
        return self._paused.pop(run, None) is not None

    def end(self, run: str) -> bool:
        """Forget a run that has ended; whether it was paused."""
        self._parents.pop(run, None)
        return self.resume(run)

    def is_below(self, run: str, top: str) -> bool:
        """Whether a run is the other one, or below it."""
        while run and run != top:
            run = self._parents.get(run, "")
        return run == top

    def paused(self, run: str) -> str:
        """The paused run that keeps a run from starting anything: itself, or one above it; "" for none."""
        while run and self._paused:
            if run in self._paused:
                return run
            run = self._parents.get(run, "")
        return ""
