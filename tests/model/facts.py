"""Facts with the fields that a test does not care about filled in, and a world that they have happened to."""

from __future__ import annotations

from typing import Any

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.schedule import decide
from maestro.model.scheduling.sites import ground_of
from maestro.model.task import Slot, Task
from tests.model.history import Log, facts_of, new


def node(name: str = "n", slots: int = 4) -> e.NodeJoined:
    """A daemon has started."""
    return e.NodeJoined(name, name, f"{name}.1", 1, slots, "test")


def agent(name: str, node: str | None = "n", **fields: Any) -> e.AgentAssigned:
    """An agent in a workspace of its own on node `n`; with node=None one that may run anywhere."""
    workspace = fields.pop("workspace", None if node is None else f"/w/{name}")
    definition = fields.pop("definition", {})
    return e.AgentAssigned(name, fields.pop("type", "code"), definition, "/r", workspace, node=node, **fields)


def task(name: str, *targets: str, **fields: Any) -> e.TaskDispatched:
    """A task for the targets, else for agent `a`."""
    after = fields.pop("after", ())
    return e.TaskDispatched(name, "do it", "do it", targets or ("a",), depends_on=tuple(after), **fields)


def step(name: str, *targets: str, **fields: Any) -> e.TaskDispatched:
    """A task that is the attempt of step `name` of the workflow run `w`, whose folder is on node `n`."""
    fields = {"workflow": "w", "step": name, "node": "n", "folder": "/wf/w"} | fields
    return task(name, *(targets or (".run",)), **fields)


def workspace_of(plan: Plan, row: Task, name: str, run: str) -> str:
    """Where a worker has a run work."""
    agent = plan.crew.agent(name)
    site = None if agent is None else plan.crew.site(ground_of(row), agent)
    assert site is not None
    return site.workspace or f"/runs/{run}"


class World:
    """A log with a plan that follows it. at: server time, ms."""

    def __init__(self, *given: e.AnyFact) -> None:
        self.log = Log()
        self.plan = Plan()
        self.happens(*given)

    def happens(self, *facts: e.AnyFact) -> World:
        """Facts enter the log, each at its own millisecond."""
        for fact in facts:
            self.log.at += 1
            for event in self.log.append(new(fact)) or ():
                self.plan.apply(event)
        self.log.supply(self.plan)
        return self

    def other(self, plan: Plan, fact: e.AnyFact) -> None:
        """A fact that another plan alone follows."""
        for event in self.log.append(new(fact)) or ():
            plan.apply(event)

    def decides(self) -> list[e.AnyFact]:
        """What the scheduler decides now; it enters the log."""
        decisions = decide(self.plan, self.log.at)
        events = [event for decision in decisions for event in decision.events]
        for decision in decisions:
            added = self.log.append(decision.events, decision.cause)
            assert added is not None, f"refused: {decision}"
            for event in added:
                self.plan.apply(event)
        return facts_of(events)

    def releases(self) -> list[tuple[str, str]]:
        """The runs that the scheduler releases now, with their agents."""
        return [(fact.run, fact.agent) for fact in self.decides() if isinstance(fact, e.RunReleased)]

    def starts(self, run: str, node: str = "n") -> World:
        """A worker takes a released run."""
        found = self.plan.run(run)
        assert found is not None, f"{run} is not released"
        row, live = found
        workspace = workspace_of(self.plan, row, live.agent, run)
        return self.happens(e.RunStarted(run, row.id, live.agent, node, f"/runs/{run}", workspace))

    def ends(self, run: str, outcome: str = "ok", **fields: Any) -> World:
        """A started run ends."""
        found = self.plan.run(run)
        assert found is not None, f"{run} is not live"
        row, live = found
        fields.setdefault("exit_code", {"ok": 0, "exit": 1}.get(outcome))
        return self.happens(e.RunEnded(run, row.id, live.agent, outcome, **fields))

    def runs(self, run: str, outcome: str = "ok", **fields: Any) -> World:
        """A released run starts and ends."""
        return self.starts(run).ends(run, outcome, **fields)

    def task(self, name: str) -> Task:
        """The task's row, folded from the start."""
        return self.log.fold().tasks[name]

    def slot(self, name: str, index: int = 0) -> Slot:
        """A slot of it."""
        return self.task(name).slots[index]

    def agent(self, name: str) -> Agent:
        """The agent's row."""
        return self.log.fold().agents[name]
