"""What a look counts and puts first: agents by health too, snoozed alerts last."""

from __future__ import annotations

from maestro.model.agent import Agent
from maestro.model.monitoring.alert import Alert
from maestro.runtime.handlers.monitoring.agents_seen import chosen, counted, seen_row
from maestro.runtime.handlers.monitoring.look import order


def test_an_agent_that_works_and_is_unhealthy_counts_as_failed() -> None:
    agents = [
        agent("well", task="t"),
        agent("sick", task="t", healthy=False),
        agent("gone", stopped=True),
        agent("rest"),
    ]
    assert counted(agents) == {"all": 4, "active": 1, "failed": 1, "idle": 1, "stopped": 1}
    assert [row.id for row in chosen(agents, "failed", 9)] == ["sick"]
    assert [row.id for row in chosen(agents, "", 9)] == ["well", "sick", "rest", "gone"]
    row = seen_row(agents[1], None, 0, None)
    assert (row["state"], row["counts_as"]) == ("active", "failed")


def agent(id: str, task: str = "", healthy: bool = True, stopped: bool = False) -> Agent:
    return Agent(id, 1, "worker", {}, "/w", stopped=stopped, healthy=healthy, running=bool(task), task=task)


def alert(id: str, severity: str, since: int, snoozed_until: int = 0) -> Alert:
    return Alert(id, 1, "disk", "vm", severity, "is full", since=since, snoozed_until=snoozed_until)


def test_snoozed_alerts_come_last() -> None:
    alerts = [
        alert("quiet:", "critical", 1, snoozed_until=50),
        alert("late:", "critical", 9, snoozed_until=10),
        alert("mild:", "warning", 2),
        alert("bad:", "critical", 3),
    ]
    assert [row.id for row in sorted(alerts, key=lambda row: order(row, 20))] == ["bad:", "late:", "mild:", "quiet:"]
