"""Typed queries of the views of what monitors watch."""

from __future__ import annotations

from collections.abc import Sequence

from maestro.model.monitoring.alert import Alert, Delivery, Endpoint
from maestro.model.monitoring.totals import Totals
from maestro.model.schedules.schedule import Firing, Schedule
from maestro.model.workflow.run_header import RunHeader
from maestro.store.contract import Checkpoint, PageQuery
from projections import workflow_runs
from projections.monitoring import alerts, deliveries, firings, schedules, totals
from projections.view_calls import ALL, Found, Listed, ViewCalls


class MonitoringQueries(ViewCalls):
    """The queries of alerts, deliveries, schedules and totals."""

    def alerts(self, which: str = "open", limit: int = ALL) -> Listed[Alert]:
        """Alerts: `open` and `name:<name>` longest open first, `resolved` newest first."""
        return self._list(alerts.NAME, PageQuery(alerts.NAME, which, 0, limit, newest=which == "resolved"))

    def alert(self, alert: str) -> Found[Alert]:
        """One alert by id."""
        return self._find(alerts.NAME, alert)

    def delivery(self, delivery: str) -> Found[Delivery]:
        """One that is not delivered yet, by id."""
        return self._find(deliveries.NAME, f"delivery:{delivery}")

    def alerts_open(self, names: Sequence[str]) -> Found[dict[str, int]]:
        """How many alerts are open, by the name of their rule; no row is read."""

        def read(generation: str, known: Checkpoint) -> Found[dict[str, int]]:
            def count(index: str) -> int:
                return self._views.page(generation, PageQuery(alerts.NAME, index, 0, 0)).total

            found = dict.fromkeys(names, 0)
            if count("open"):
                found = {name: count(f"name:{name}") for name in names}
            return Found(found, known)

        counted: Found[dict[str, int]] = self._read(read)
        return counted

    def runs_asking(self) -> Listed[RunHeader]:
        """Runs of workflows that wait for the approval of a person, the longest first."""
        return self._list(workflow_runs.NAME, PageQuery(workflow_runs.NAME, "asking", 0, ALL, newest=False))

    def endpoints(self) -> Listed[Endpoint]:
        """All webhooks that were ever configured, oldest first."""
        return self._list(deliveries.NAME, PageQuery(deliveries.NAME, "endpoints", 0, ALL, newest=False))

    def deliveries(self, which: str = "open", limit: int = ALL, due: int | None = None) -> Listed[Delivery]:
        """What is to be delivered: `open`, `due:<endpoint>`, next attempt first; `failed`; `of:<endpoint>`,
        `alert:<alert>`, oldest first. due: only up to that time.
        """
        query = PageQuery(deliveries.NAME, which, 0, limit, newest=False, max_score=due)
        return self._list(deliveries.NAME, query)

    def schedules(self) -> Listed[Schedule]:
        """All schedules of commands, oldest first."""
        return self._list(schedules.NAME, PageQuery(schedules.NAME, "all", 0, ALL, newest=False))

    def schedule(self, name: str) -> Found[Schedule]:
        """One schedule of a command by name."""
        return self._find(schedules.NAME, name)

    def firing(self, schedule: str) -> Found[Firing]:
        """What has fired of one schedule: a name, or `<workflow>#<n>`."""
        return self._find(firings.NAME, schedule)

    def firings(self, which: str = "all") -> Listed[Firing]:
        """What has fired of all schedules: `all`, or `open`."""
        return self._list(firings.NAME, PageQuery(firings.NAME, which, 0, ALL, newest=False))

    def totals(self) -> Found[Totals]:
        """What was counted since the log began."""
        return self._find(totals.NAME, totals.ROW)
