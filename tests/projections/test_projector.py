"""The projector: at any prefix of any log the stored views are what a fresh fold of it says, each event once."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from maestro.store.memory import MemoryStore
from projections.projector import Projector
from tests.projections.histories import everything, fresh, grow, stored


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), restores=st.booleans())
def test_views_at_every_prefix_of_a_random_log_are_those_of_a_fresh_fold(seed: int, restores: bool) -> None:
    store = MemoryStore("prefixes")
    random = Random(seed)
    projectors = [Projector(store) for _ in range(3)]
    for head in grow(store, random, 25, restores):
        if random.random() < 0.6:
            projector = random.choice(projectors)
            checkpoint = projector.catch_up()
            assert (checkpoint.seq, checkpoint.stopped, checkpoint.floor) == (head, "", store.log.head().floor)
            assert store.views.current() == projector.generation
            assert stored(store, projector.generation) == fresh(everything(store)).digests()
