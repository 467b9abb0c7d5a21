"""The alert of an agent that somebody has seen to."""

from __future__ import annotations

from tests.model.monitoring.test_alert_day import LOOK_MS, Leader, Town, whole


def test_an_agent_that_was_ill_again_and_is_assigned_elsewhere_is_well_after_fifteen_seconds() -> None:
    town = Town()
    leader = Leader(town, 0)
    for failed in (["workspace"], [], [], [], ["workspace"], []):
        town.health("a", failed)
        leader.look()
        town.now += LOOK_MS
    assert town.open["agent_unhealthy:a"].recurring
    town.agents["a"].assigned_at = town.now
    for _ in range(2):
        leader.look()
        town.now += LOOK_MS
    assert not town.open
    whole(town)
