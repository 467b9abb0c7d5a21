"""The world as the rules of alerts want it: from the plan in memory, and some rows and samples of the store."""

from __future__ import annotations

from maestro.model.monitoring.alert_conditions import Approval, Due, Lacking, Outage, Overspent, Ready, World
from maestro.model.scheduling.lanes import Entry
from maestro.model.scheduling.waiting import why_waiting
from maestro.model.target import is_anywhere
from maestro.model.workflow.commands import addition
from maestro.model.workflow.decide import over_budget
from maestro.runtime.monitor.steady_rows import SteadyRows
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.scheduler import Scheduler
from maestro.runtime.scheduler.workflows.attempts import Attempts

LANES_A_LOOK = 1000
"""So many lanes are looked at at once for the oldest ready task; where there are more, in turn."""
SWEPT_MS_MAX = 30_000
"""So long a look at all lanes holds while nothing is appended: a slot whose retry is due comes into its lane anyway."""
VERIFIED = "replay:verified"
"""The sample of the last `replay verify`: {ok, why}."""
SNAPSHOT_COMMAND = ["state", "snapshot"]


def seen_key(node: str) -> str:
    """The sample in which a node tells what it sees of itself."""
    return f"node:{node}:seen"


class AlertWorld:
    """Looks at the world. outage: gives the last outage of the store as this node has seen it."""

    def __init__(self, context: Context, follower: Follower, scheduler: Scheduler) -> None:
        self._context = context
        self._follower = follower
        self._scheduler = scheduler
        self._views = SteadyRows(context, follower)
        self._lane = 0
        self._oldest: Entry | None = None
        self._swept = (-1, 0, 0, 0)  # position of the plan, its lanes, how many were looked at since, from when on

    async def look(self, now: int, outage: Outage | None) -> World:
        """The world at `now`. Raises StoreAway."""
        context, plan = self._context, self._follower.plan
        nodes = [node.id for node in plan.nodes.values() if node.status != "left"]
        keys = [*map(seen_key, nodes), VERIFIED]
        *seen, verified = await context.gateway.ask(context.store.work.samples, keys)
        totals = await self._views.row(context.views.totals)
        approvals, overspent = self._runs()
        due = await self._due()
        return World(
            now=now,
            agents=plan.agents,
            nodes=plan.nodes,
            seen=dict(zip(nodes, seen, strict=True)),
            running=len(plan.crew.live),
            ready=self._ready(now),
            lacking=self._lacking(),
            approvals=approvals,
            overspent=overspent,
            snapshots=due,
            newest=totals.snapshot_at if totals is not None else 0,
            spend={int(hour): cost for hour, (_, cost) in totals.hours.items()} if totals is not None else {},
            verified=verified,
            outage=outage,
        )

    def _runs(self) -> tuple[list[Approval], list[Overspent]]:
        approvals, overspent = [], []
        attempts = Attempts(self._context, self._follower, self._scheduler.open_runs)
        for live in self._scheduler.open_runs:
            run = live.run
            workflow = run.fact.workflow
            for step in run.asking:
                prompt = run.asked[step].approval or ""
                approvals.append(Approval(live.id, workflow, step, run.current[step].since, prompt))
            if run.paused == "budget":
                usage = attempts.usage(live)
                overspent.append(Overspent(live.id, workflow, over_budget(run, usage), addition(run, usage)))
        return approvals, overspent

    async def _due(self) -> list[Due]:
        """The schedules that take snapshots, with their last due times."""
        views = self._context.views
        schedules = [
            row
            for row in await self._views.rows(views.schedules)
            if row.enabled and list(row.command[:2]) == SNAPSHOT_COMMAND
        ]
        if not schedules:
            return []
        fired = {row.schedule: row.last_due for row in await self._views.rows(views.firings)}
        return [Due(row.name, fired.get(row.name, 0)) for row in schedules]

    def _ready(self, now: int) -> Ready | None:
        """The task that has been ready longest, among the first ones of all lanes; those that are held count as not.

        The first of a lane is its oldest but for priorities: one of a lower priority may be older by 40 minutes.
        """
        plan = self._follower.plan
        entries = [] if self._is_known(now) else self._fronts(now)
        if self._oldest is not None and plan.is_true(self._oldest):
            entries.append(self._oldest)
        ages = [(plan.census.since(entry.task, entry.slot), entry) for entry in entries if not self._is_held(entry)]
        self._oldest = None
        if not ages:
            return None
        since, entry = min(ages, key=lambda one: one[0])
        self._oldest = entry
        row = plan.tasks[entry.task]
        return Ready(row.id, row.title, since, why_waiting(plan, row, entry.slot, now))

    def _lacking(self) -> list[Lacking]:
        """What waits for labels that no node has, each set of them once."""
        plan = self._follower.plan
        found: dict[str, Lacking] = {}
        for entry in plan.lanes.labelled():
            labels, since = ",".join(entry.lane.labels), plan.census.since(entry.task, entry.slot)
            if not is_anywhere(entry.lane.labels, plan.nodes.values()) and (
                labels not in found or since < found[labels].since
            ):
                found[labels] = Lacking(labels, entry.task, plan.tasks[entry.task].title, since)
        return [found[labels] for labels in sorted(found)]

    def _is_known(self, now: int) -> bool:
        """Whether all lanes were looked at since something was appended, and not long ago."""
        seq, lanes, looked_at, since = self._swept
        plan = self._follower.plan
        return (seq, lanes) == (plan.seq, plan.lanes.count) and looked_at >= lanes and 0 <= now - since < SWEPT_MS_MAX

    def _fronts(self, now: int) -> list[Entry]:
        """The first entries of the next lanes."""
        plan = self._follower.plan
        begin = self._lane if self._lane < plan.lanes.count else 0
        self._lane = begin + LANES_A_LOOK
        seq, lanes, looked_at, since = self._swept
        if (seq, lanes) != (plan.seq, plan.lanes.count) or looked_at >= lanes:
            looked_at, since = 0, now
        self._swept = (plan.seq, plan.lanes.count, looked_at + LANES_A_LOOK, since)
        return plan.lanes.fronts(begin, LANES_A_LOOK)

    def _is_held(self, entry: Entry) -> bool:
        """Whether a person has stopped what the slot waits for: its agent, or the node of that; or it asks for labels
        that none has, which has an alert of its own.
        """
        plan = self._follower.plan
        if entry.lane.labels and not is_anywhere(entry.lane.labels, plan.nodes.values()):
            return True
        agent = plan.agents.get(entry.lane.target)
        if agent is None:
            return not any(node.takes_work for node in plan.nodes.values())
        node = plan.nodes.get(agent.node or "")
        return agent.stopped or (node is not None and (node.held or node.status == "left"))
