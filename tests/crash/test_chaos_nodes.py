"""Five seeded trials of three nodes on hosts of their own; `tools/chaos/run --nodes 3` runs a hundred longer ones.

Hosts are network namespaces, which root alone may make: elsewhere the trials are left out with a line. The clocks of
two nodes are an hour ahead and behind, where there is a C compiler for that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest

from tools.chaos.nodes.faults import ONE_NODE, SPLIT
from tools.chaos.nodes.fleet import NODES, REPLICA, STORE, WATCHER
from tools.chaos.nodes.hosts import Hosts, clock_library, hindrance
from tools.chaos.nodes.trial import watched_fleet
from tools.chaos.trial import Trial
from tools.place import Place

HINDRANCE = hindrance()
FAULTS = ["a node does not hear", "cut a node off", "a node is not heard", "the leader loses its power", SPLIT]

Run = Callable[[int, str], Trial]


def left_out(what: str) -> None:
    warnings.warn(f"left out: {what}", stacklevel=2)


@pytest.fixture(scope="module")
def run() -> Iterator[Run | None]:
    if HINDRANCE:
        left_out(f"trials of three nodes on hosts of their own: {HINDRANCE}")
        yield None
        return
    if not clock_library():
        left_out("clocks that are apart, as there is no C compiler")
    with Place("nodes") as place, Hosts(*NODES, STORE, REPLICA, WATCHER) as hosts:
        with watched_fleet(hosts, place) as (work, one):
            yield one
        left = work.fleet.left_over()
    assert not left, left


def test_the_faults_are_known() -> None:
    assert set(FAULTS) <= {*ONE_NODE, SPLIT}


@pytest.mark.parametrize("seed", range(len(FAULTS)), ids=lambda seed: f"{seed} {FAULTS[seed]}")
def test_every_invariant_holds_when_a_fault_strikes_a_host(run: Run | None, seed: int) -> None:
    if run is not None:
        trial = run(seed, FAULTS[seed])
        assert not trial.breaches, "\n".join(trial.breaches)
