"""Snapshots and restores over all nodes while faults strike: asked from any node, one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from random import Random

from maestro.model.errors import MaestroError
from maestro.runtime.protocol import messages as p
from projections.view_reader import Views
from tools.chaos.nodes.fleet import FleetWork
from tools.chaos.nodes.works import is_whole, under_way

END_S_MAX = 90.0
POLL_S = 0.2
BETWEEN_S = 1.0
RESTORES = 0.7
"""How often it is a restore, where there may be any."""


class Keeper:
    """Asks for snapshots and restores until it is ended. restores: whether there are any.

    busy: set while a restore is on, or a snapshot where there are no restores. What came of each is in the file
    `keeper.log` of the trial.
    """

    def __init__(self, work: FleetWork, rng: Random, restores: bool) -> None:
        self._last = ""
        self.busy = threading.Event()
        self._work = work
        self._rng = rng
        self._restores = restores
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Ask within the block; at its end what is asked last is waited for. Raises TimeoutError."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join(END_S_MAX)
        if self._thread.is_alive():
            raise TimeoutError(f"after {END_S_MAX:.0f} s there is no answer to {self._last}")

    def _run(self) -> None:
        while not self._ended.is_set():
            self._one()
            self._ended.wait(self._rng.uniform(0, BETWEEN_S))

    def _one(self) -> None:
        command = self._command()
        self._tell(f"{command}")
        start = time.monotonic()
        if isinstance(command, p.StateRestore) or not self._restores:
            self.busy.set()
        try:
            self._work.ask(command)
            told = "done"
        except (MaestroError, OSError) as error:
            told = f"{error}"
        self.busy.clear()
        self._tell(f"  {time.monotonic() - start:.1f} s: {told}")
        if self._restores:
            with suppress(MaestroError, OSError):
                self._work.forget_undone()

    def _tell(self, line: str) -> None:
        self._last = line
        with (self._work.fleet.place.path / "keeper.log").open("a") as file:
            file.write(f"{time.strftime('%T')} {line}\n")

    def _command(self) -> p.Command:
        kept: list[str] = []
        if self._restores:
            with suppress(MaestroError, OSError):
                kept = [event.fact.snapshot for event in self._work.fleet.events() if is_whole(event.fact)]
        if not kept or self._rng.random() > RESTORES:
            return p.StateSnapshot(allow_missing=self._rng.random() < 0.2)
        return p.StateRestore(
            source=self._rng.choice(kept),
            rollback=self._rng.random() < 0.3,
            skip_verify=self._rng.random() < 0.3,
            skip_failed=self._rng.random() < 0.2,
            resume_queued=self._rng.random() < 0.3,
        )


def until_over(work: FleetWork) -> None:
    """Wait until no snapshot and no restore is on. Raises TimeoutError with those that are."""
    deadline = time.monotonic() + END_S_MAX
    while left := under_way(work.fleet.events()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {END_S_MAX:.0f} s {'; '.join(left)}")
        time.sleep(POLL_S)


def not_idle(work: FleetWork) -> Iterator[str]:
    """The breaches of agents that take no work, though nothing is on."""
    with closing(work.fleet.first.open_store()) as store:
        for row in Views(store).agents().rows:
            if row.id in work.workspaces and row.stopped:
                yield f"agent {row.id} is stopped: {row.reason}"
