"""Ten seeded chaos trials, one for each fault, with real processes; `tools/chaos/run --long` runs two hundred."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.chaos.trial import fault_of, run


@pytest.mark.parametrize("seed", range(10), ids=lambda seed: f"{seed} {fault_of(seed)}")
def test_every_invariant_holds_when_a_fault_strikes(seed: int, tmp_path: Path) -> None:
    trial = run(seed, keep=tmp_path)
    assert not trial.breaches, "\n".join(trial.breaches)
