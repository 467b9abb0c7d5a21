"""The watch over the processes of runs: for how long each stands still, and for how long a run has printed nothing.

A system tells what a process does now, not since when; so the times between looks are added up. A pause of Maestro's
own (a snapshot, a restore) stops all processes of a run: no time is added while one lasts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from maestro.model.monitoring.sights import SeenProcess, SeenRun
from maestro.runtime.worker.process_usage import Sample, Standing

Stamp = tuple[tuple[str, int], ...]


class Guarded(NamedTuple):
    """A run whose processes are looked at. log: the file of its output; silent_s_max: how long it may print nothing.

    paused: Maestro has stopped it.
    """

    log: str
    silent_s_max: float | None = None
    paused: bool = False


class Known(msgspec.Struct):
    """What is remembered of a run. looked_at: when it was looked at last, also while it was paused; stood: for how long
    each process has; silent_s: for how long `stamp` has been the same; standing: as of the last look.
    """

    looked_at: float
    stamp: Stamp | None = None
    silent_s: float = 0.0
    stood: dict[Standing, float] = {}
    standing: tuple[SeenProcess, ...] = ()


class ProcessWatch:
    """What was seen of the runs of this node, look by look. Times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}

    def look(self, samples: Mapping[str, Sample], runs: Mapping[str, Guarded], now: float) -> dict[str, SeenRun]:
        """What is seen at this look, by run; nothing of runs that are paused, or whose processes were not found.

        runs: those that are on here; of others nothing is remembered. Blocks shortly, for the files of output.
        """
        self._known = {run: self._known.get(run) or Known(now) for run in runs}
        found: dict[str, SeenRun] = {}
        for run, guarded in runs.items():
            known = self._known[run]
            passed_s, known.looked_at = max(0.0, now - known.looked_at), now
            if guarded.paused:
                continue
            stamp = _stamp(guarded.log)
            known.stamp, known.silent_s = stamp, known.silent_s + passed_s if stamp == known.stamp else 0.0
            sample = samples.get(run)
            if sample is not None:
                before = known.standing
                known.stood = {each: known.stood.get(each, -passed_s) + passed_s for each in sample.standing}
                known.standing = tuple(
                    SeenProcess(each.pid, each.name, each.status, for_s, each.role)
                    for each, for_s in known.stood.items()
                )
                found[run] = SeenRun(known.standing, before, sample.processes, known.silent_s, guarded.silent_s_max)
        return found


def _stamp(log: str) -> Stamp:
    """What changes with each output: the sizes of the log and of its pieces."""
    folder, name = os.path.split(log)
    try:
        with os.scandir(folder) as entries:
            mine = [entry for entry in entries if entry.name.startswith(name)]
            return tuple(sorted((entry.name, entry.stat(follow_symlinks=False).st_size) for entry in mine))
    except OSError:
        return ()
