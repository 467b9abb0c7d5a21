"""A small Maestro without processes: scheduler, work streams and workers over a pure log, with all their faults.

Everything that the real parts do is here as one step each, so that a test can have them in any order. A worker keeps
the version under which it last wrote of each run, and learns of nothing: its next append tells it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.events import Event, NewEvent
from maestro.model.restore import OpenWork, decide_restore_end
from maestro.model.scheduling.endings import decide_stranded
from maestro.model.scheduling.foresight import after_dispatch, after_end
from maestro.model.scheduling.schedule import Decision, Plan, decide, next_due, why_waiting
from maestro.model.scheduling.sites import VIRTUAL, ground_of
from maestro.model.task import dispatched
from tests.model.facts import workspace_of
from tests.model.history import Log, new


@dataclass
class Process:
    """A run's process tree. place: (node, workspace); version: under which its worker writes; common: it bears others
    in its workspace.
    """

    run: str
    task: str
    agent: str
    place: tuple[str, str]
    version: int
    common: bool = False


@dataclass
class Host:
    """A node's machine. up: its daemon runs."""

    name: str
    slots: int
    up: bool = True
    stream: list[tuple[str, int]] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    dead: dict[str, Process] = field(default_factory=dict)
    incarnation: int = 0


class Cluster:
    """The log, the hosts, one scheduler."""

    def __init__(self, slots: dict[str, int]) -> None:
        self.log = Log()
        self.hosts = {name: Host(name, count) for name, count in slots.items()}
        self.shared: list[tuple[str, int]] = []
        self.plan = Plan()
        for host in self.hosts.values():
            self.join(host)

    # ---- the log ----

    def put(self, *facts: e.AnyFact) -> None:
        """Facts at any version."""
        assert self.commit(new(*facts))

    def commit(self, events: list[NewEvent], floors: bool = False) -> bool:
        """Append and let the plan follow; False where a version refused."""
        if not events:
            return True
        added = self.log.append(events, floors=floors)
        if floors:
            self.plan = self.log.plan()
            return added is not None
        for event in added or ():
            self.plan.apply(event)
        self.log.supply(self.plan)
        return added is not None

    # ---- the scheduler ----

    def schedule(self, lost: int = -1, meanwhile: Callable[[], None] | None = None, may_start: bool = False) -> int:
        """Decide once and append; the decision number `lost` never reaches the log. How many were made.

        meanwhile: what happens before the log has them. may_start: runs may begin with their release.
        """
        decisions = decide(self.plan, self.log.at)
        for fact in [event.fact for decision in decisions for event in decision.events]:
            assert not isinstance(fact, e.RunReleased) or not self.enters_hold(fact), fact
        if meanwhile is not None:
            meanwhile()
        for number, decision in enumerate(decisions):
            if number == lost:
                continue
            self.append([], decision, may_start)
        return len(decisions)

    def enters_hold(self, fact: e.RunReleased) -> bool:
        """Whether a run is released to a workspace that something else holds."""
        row, agent = self.plan.tasks[fact.task], self.plan.crew.agent(fact.agent)
        site = None if agent is None else self.plan.crew.site(ground_of(row), agent)
        return bool(site and site.place) and self.plan.holds.keeps_out(site.place, (row.workflow, row.step))

    def append(self, before: list[NewEvent], decision: Decision, may_start: bool) -> bool:
        """Append a decision behind what it follows from; a run may begin with its release, where its node has room."""
        fact = decision.events[0].fact
        host = self.hosts.get(fact.node or "") if isinstance(fact, e.RunReleased) and may_start else None
        if host is None or not host.up or len(host.processes) >= host.slots or not isinstance(fact, e.RunReleased):
            if not self.commit([*before, *decision.events]):
                return False
            for stream, run, _ in decision.hints:
                self.hint(stream, run, self.log.version(f"run:{run}"))
            return True
        wanted = next((event.fact for event in before if isinstance(event.fact, e.TaskDispatched)), None)
        row = self.plan.tasks.get(fact.task) or dispatched(wanted, Event(0, "", 0, "", "", 0, wanted))
        workspace = workspace_of(self.plan, row, fact.agent, fact.run)
        started = e.RunStarted(fact.run, fact.task, fact.agent, host.name, f"/runs/{fact.run}", workspace)
        if not self.commit([*before, *decision.events, NewEvent(decision.events[0].subject, started)]):
            return False
        version = self.log.version(f"run:{fact.run}")
        host.processes[fact.run] = self.process(started, version)
        return True

    def dispatch(self, events: list[NewEvent], at_once: bool, may_start: bool) -> None:
        """Append a dispatch; at_once: with its release, should that be foreseen."""
        fact = events[0].fact if len(events) == 1 else None
        decision = after_dispatch(self.plan, fact, self.log.at) if isinstance(fact, e.TaskDispatched) else None
        if not at_once or decision is None or not self.append(events, decision, may_start):
            self.commit(events)

    def hint(self, stream: str, run: str, token: int) -> None:
        """Put a hint on a stream."""
        (self.hosts[stream].stream if stream else self.shared).append((run, token))

    def new_scheduler(self) -> None:
        """Another daemon takes the lease: it loads the plan and puts the hints again."""
        self.plan = self.log.plan()
        self.hint_again()

    def hint_again(self) -> None:
        """Hints of what is released and unstarted; some may be there already."""
        for stream, run, token in self.plan.released_unstarted():
            self.hint(stream, run, token)

    # ---- workers ----

    def take(self, host: Host) -> bool:
        """The worker takes a hint if it has a slot, its own stream first. Whether it started a run."""
        if not host.up or len(host.processes) >= host.slots:
            return False
        stream = host.stream or self.shared
        if not stream:
            return False
        run, token = stream.pop(0)
        released = self.log.events[token - 1].fact
        assert isinstance(released, e.RunReleased)
        agent, row = self.plan.crew.agent(released.agent), self.plan.tasks.get(released.task)
        site = None if agent is None or row is None else self.plan.crew.site(ground_of(row), agent)
        if agent is None or site is None or site.node not in ("", host.name):
            return False
        workspace = site.workspace or f"/runs/{run}"
        started = e.RunStarted(run, released.task, agent.id, host.name, f"/runs/{run}", workspace)
        if not self.commit([NewEvent(f"run:{run}", started, token)]):
            return False
        host.processes[run] = self.process(started, self.log.version(f"run:{run}"))
        return True

    def process(self, started: e.RunStarted, version: int) -> Process:
        """The process of a run that has started."""
        row = self.plan.tasks[started.task]
        common = started.workspace == f"{row.folder}/workspace" and not row.alone
        place = (started.node, started.workspace)
        return Process(started.run, started.task, started.agent, place, version, common)

    def end(
        self, host: Host, process: Process, outcome: str, retry_at: int | None = None, with_task: bool = False
    ) -> bool:
        """The process ends and its worker says so; False where somebody else did before.

        with_task: in one append with the end of its task, should that be foreseen.
        """
        host.processes.pop(process.run, None)
        host.dead.pop(process.run, None)
        code = {"ok": 0, "exit": 1}.get(outcome)
        fact = e.RunEnded(
            process.run, process.task, process.agent, outcome, code, retry_at=retry_at, result=process.run
        )
        ended = NewEvent(f"run:{process.run}", fact, process.version)
        if with_task and self.commit([ended, *after_end(self.plan, fact)]):
            return True
        return self.commit([ended])

    def crash(self, host: Host) -> None:
        """kill -9 of the worker: its trees die with it, nobody tells the log."""
        host.up = False
        host.dead |= host.processes
        host.processes.clear()

    def join(self, host: Host) -> None:
        """A daemon starts there; it reports what the one before it left."""
        host.up = True
        host.incarnation += 1
        name, slots = host.name, host.slots
        self.put(e.NodeJoined(name, name, f"{name}.{host.incarnation}", 1, slots, "test"))
        for process in list(host.dead.values()):
            self.end(host, process, "lost")
        for _, _, token in [hint for hint in self.plan.released_unstarted() if hint[0] == name]:
            released = self.log.events[token - 1].fact
            assert isinstance(released, e.RunReleased)
            self.hint(name, released.run, token)

    def stranded(self, agent: Agent | None) -> NewEvent | None:
        """The end of an agent's run on a lost node, for the user who moves it away."""
        if agent is None or agent.node is None or self.plan.nodes[agent.node].status != "lost":
            return None
        found = self.plan.run(agent.run)
        return decide_stranded(*found, self.log.floor) if found else None

    def restore(self, to: int) -> None:
        """Stop everything, cut the line. Workers that hear nothing of it keep their old versions."""
        now = [row for row in self.log.fold().tasks.values() if row.open]
        then = [row for row in self.log.fold(to).tasks.values() if row.open]
        for host in self.hosts.values():
            host.dead |= host.processes
            host.processes.clear()
        done = e.RestoreDone(f"r{self.log.head}", to)
        assert self.commit(decide_restore_end(done, OpenWork(now), OpenWork(then), self.log.floor), floors=True)
        for host in self.hosts.values():
            for process in list(host.dead.values()):
                assert not self.end(host, process, "ok"), "a run from before a restore wrote after it"

    # ---- what must hold ----

    def check(self) -> None:
        """The invariants of every moment."""
        live = [run for row in self.plan.tasks.values() for slot in row.slots if (run := slot.live)]
        agents = [run.agent for run in live if run.agent not in VIRTUAL]
        assert len(agents) == len(set(agents)), f"two runs of one agent: {live}"
        processes = [process for host in self.hosts.values() for process in host.processes.values()]
        places = Counter(process.place for process in processes)
        mixed = [each for each in processes if places[each.place] > 1 and not each.common]
        assert not mixed, f"two writers in one workspace: {processes}"
        for host in self.hosts.values():
            assert len(host.processes) <= host.slots
        busy = {run.agent: run.id for run in live if run.agent not in VIRTUAL}
        assert busy == {row.id: row.run for row in self.plan.agents.values() if row.run}
        assert {run.id for run in live} == set(self.plan.crew.live)

    def check_log(self) -> None:
        """The invariants of the whole: one terminal event a run, the plan's rows are those of a fresh fold."""
        ended: dict[tuple[str, int], int] = {}
        tokens: dict[str, int] = {}
        for event in self.log.events:
            if isinstance(event.fact, e.RunReleased):
                tokens[event.fact.run] = event.seq
            elif isinstance(event.fact, e.RunEnded):
                key = (event.fact.run, tokens[event.fact.run])
                ended[key] = ended.get(key, 0) + 1
        restored = bool(self.log.restores)
        assert restored or all(count == 1 for count in ended.values()), ended
        views = self.log.fold()
        assert {row.id: row for row in views.tasks.values() if row.open} == self.plan.tasks
        assert views.agents == self.plan.agents
        assert views.nodes == self.plan.nodes

    def quiet(self) -> None:  # noqa: C901
        """No more faults: after enough time every open task has ended or says what it waits for."""
        for host in self.hosts.values():
            if not host.up or self.plan.nodes[host.name].status != "up":
                self.join(host)
            self.put(e.NodeResumed(host.name))
        for agent in list(self.plan.agents):
            self.put(e.AgentRestarted(agent))
        for row in [row for row in self.log.fold().headers.values() if row.open]:
            self.put(e.WorkflowRunFinished(row.id, "completed"))
        self.hint_again()
        for _ in range(3000):
            moved = self.schedule()
            for host in self.hosts.values():
                while self.take(host):
                    moved += 1
                for process in list(host.processes.values()):
                    self.end(host, process, "ok")
                    moved += 1
            due = next_due(self.plan, self.log.at)
            if not moved and due is None:
                break
            if not moved and due is not None:
                self.log.at = max(self.log.at, due)
        else:
            raise AssertionError("it never comes to rest")
        for row in self.plan.tasks.values():
            for index, slot in enumerate(row.slots):
                why = why_waiting(self.plan, row, index, self.log.at)
                assert slot.status == "ended" or why not in ("", "its turn"), f"{row} is stuck: {why!r}"
