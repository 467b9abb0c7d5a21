"""Any order of commands, deliveries, crashes and clock jumps keeps what is promised: one end a run, no loss."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, given, settings

from maestro.model import events as e
from maestro.model.agent import Assignment, decide_assign, decide_stop
from maestro.model.dispatch import DispatchState, decide_cancel, decide_dispatch, decide_retry
from maestro.model.errors import MaestroError
from maestro.model.health import Check, decide_checked, decide_health_by_nodes, decide_taking_work, still_lost
from maestro.model.node import decide_lost
from maestro.model.scheduling.schedule import decide
from tests.model.cluster import Cluster, Host

NODES = {"north": 2, "south": 1}
AGENTS: dict[str, tuple[str | None, str | None]] = {
    "a": ("north", "/w/a"),
    "b": ("north", "/w/shared"),
    "c": ("north", "/w/shared"),
    "d": ("south", "/w/d"),
    "e": (None, None),
    "f": (None, None),
}
TARGETS = (*AGENTS, "type:bound", "role:free", "capability:fast")
FOLDERS = {"v": "north", "w": "south"}
OUTCOMES = ("ok", "ok", "exit", "lost", "oom", "timeout", "cancelled", "spawn_error")


class Parties:
    """Users, scheduler, workers and faults: each method is one step of one of them, drawn by a number."""

    def __init__(self) -> None:
        self.cluster = Cluster(NODES)
        self.cluster.put(*(self.assigned(agent) for agent in AGENTS))
        self.tasks: list[str] = []

    def assigned(self, agent: str) -> e.AgentAssigned:
        """How the agent is assigned at first."""
        node, workspace = AGENTS[agent]
        kind = "free" if node is None else "bound"
        capabilities = {"capabilities": ["fast"]} if agent in "ade" else {}
        return e.AgentAssigned(agent, kind, capabilities, "/r", workspace, kind, 3, node)

    def step(self, what: str, number: int) -> None:
        """One step; a command that is refused has done nothing."""
        with suppress(MaestroError):
            getattr(self, what)(Random(number))
        self.cluster.check()

    # ---- users ----

    def dispatch(self, random: Random) -> None:
        """A task for one to three targets, perhaps after others."""
        views = self.cluster.log.fold()
        earlier = [name for name in self.tasks if name in views.tasks]
        wanted = e.TaskDispatched(
            task=f"t{len(self.tasks)}",
            prompt="do it",
            title="do it",
            targets=tuple(random.sample(TARGETS, random.choice((1, 1, 1, 2, 3)))),
            depends_on=tuple(random.sample(earlier[-4:], min(len(earlier[-4:]), random.choice((0, 0, 1, 2))))),
            priority=random.choice((None, 1, 3, 5)),
            retries=random.choice((0, 0, 2)),
            on_lost=random.choice(("retry", "retry", "fail")),
            forced=random.random() < 0.2,
        )
        known = DispatchState(
            list(views.agents.values()),
            views.tasks,
            None,
            views.nodes,
            random.choice(list(NODES)),
            self.cluster.log.floor,
        )
        events = decide_dispatch(wanted, known)
        self.cluster.dispatch(events, at_once=random.random() < 0.5, may_start=random.random() < 0.5)
        self.tasks.append(wanted.task)

    def step_task(self, random: Random) -> None:
        """An attempt of a workflow's step, in the folder of its run, in an agent's workspace, or where its agent is."""
        workflow, step = random.choice("vw"), random.choice("xyz")
        wanted = e.TaskDispatched(
            task=f"t{len(self.tasks)}",
            prompt="do it",
            title="do it",
            targets=(random.choice((".run", ".run", ".echo", *TARGETS)),),
            retries=random.choice((0, 2)),
            workflow=workflow,
            step=step,
            place=random.choice(("", "", "run", "a", "c", "e")),
            node=FOLDERS[workflow],
            folder=f"/wf/{workflow}",
            alone=random.random() < 0.3,
        )
        events = [e.NewEvent(f"task:{wanted.task}", wanted, self.cluster.log.floor)]
        self.cluster.dispatch(events, at_once=random.random() < 0.5, may_start=random.random() < 0.5)
        self.tasks.append(wanted.task)

    def archive(self, random: Random) -> None:
        """An instance of a step holds a workspace, or the folder of its run."""
        workflow, agent = random.choice("vw"), self.cluster.plan.agents.get(random.choice("abd"))
        if workflow not in self.cluster.log.fold().headers:
            self.cluster.put(e.WorkflowRunStarted(workflow, "flow", 1, "", node=FOLDERS[workflow]))
        node, workspace = FOLDERS[workflow], f"/wf/{workflow}/workspace"
        if agent is not None and random.random() < 0.7:
            node, workspace = agent.node or "", agent.workspace or ""
        self.cluster.put(e.WorkspaceArchiveWanted(workflow, random.choice("xyz"), node, workspace))

    def let_go(self, random: Random) -> None:
        """An instance ends, or goes on with another attempt."""
        ends = e.StepEnded(random.choice("vw"), random.choice("xyz"), "failed", next=random.choice(("", "", "retry")))
        self.cluster.put(ends)

    def cancel(self, random: Random) -> None:
        """Any task, open or not."""
        name = random.choice(self.tasks or ["none"])
        row = self.cluster.log.fold().tasks.get(name)
        self.cluster.commit(decide_cancel(name, row, "enough", self.cluster.log.floor))

    def retry(self, random: Random) -> None:
        """Any task, finished or not."""
        name = random.choice(self.tasks or ["none"])
        row = self.cluster.log.fold().tasks.get(name)
        self.cluster.commit(decide_retry(name, row, self.cluster.log.floor))

    def health(self, random: Random) -> None:
        """A check of an agent fails, or none does any more."""
        row, holds = self.cluster.plan.agents.get(random.choice(list(AGENTS))), random.random() < 0.7
        if row is not None:
            self.cluster.commit(decide_checked(row, [Check("disk", holds, "")], self.cluster.log.floor))

    def stop(self, random: Random) -> None:
        """An agent takes no more work; its worker ends what it runs."""
        agent = random.choice(list(AGENTS))
        self.cluster.commit(decide_stop(agent, self.cluster.plan.agents.get(agent), floor=self.cluster.log.floor))

    def restart(self, random: Random) -> None:
        """It takes work again."""
        agent = random.choice(list(AGENTS))
        row = self.cluster.plan.agents.get(agent)
        self.cluster.commit(decide_taking_work(agent, row, self.cluster.plan.nodes, self.cluster.log.floor))

    def assign(self, random: Random) -> None:
        """An agent gets another priority, or moves; where its node is lost its run there is given up."""
        agent = random.choice("abd")
        first = self.assigned(agent)
        moved = random.random() < 0.5
        wanted = Assignment(
            agent,
            first.type,
            first.definition,
            "/r",
            f"/w/{agent}{random.choice(range(3))}" if moved else None,
            priority=random.randint(1, 5),
            node=random.choice(list(NODES)) if moved else None,
        )
        plan = self.cluster.plan
        row, lost = plan.agents.get(agent), [node.id for node in plan.nodes.values() if node.status == "lost"]
        stranded = self.cluster.stranded(row) if moved else None
        assigned = decide_assign(wanted, row, stranded, self.cluster.log.floor, lost)
        node = wanted.node or (row.node if row else None)
        self.cluster.commit([*assigned, *still_lost(agent, plan.nodes.get(node or ""))])

    # ---- the scheduler ----

    def schedule(self, random: Random) -> None:
        """It decides; sometimes one decision does not reach the log, or somebody else is first."""
        lost, first = random.choice((-1, -1, -1, 0, 1)), random.choice((None, None, *FIRST))

        def meanwhile() -> None:
            if first is not None:
                with suppress(MaestroError):
                    getattr(self, first)(random)

        self.cluster.schedule(lost, meanwhile, may_start=random.random() < 0.5)

    def new_scheduler(self, _: Random) -> None:
        """Another takes the lease."""
        self.cluster.new_scheduler()

    def compare(self, _: Random) -> None:
        """A plan that followed the log and one loaded from the views decide alike."""
        fresh, mine = self.cluster.log.plan(), self.cluster.plan
        fresh.clock = mine.clock
        found = [decide(plan, self.cluster.log.at) for plan in (mine, fresh)]
        ends, again = (
            {(event.subject, event.fact.__class__) for d in decisions for event in d.events if not d.hints}
            for decisions in found
        )
        assert ends == again
        releases, as_many = ([d.events[0].subject for d in decisions if d.hints] for decisions in found)
        assert len(releases) == len(as_many), (releases, as_many)

    def clock(self, random: Random) -> None:
        """Time passes."""
        self.cluster.log.at += random.choice((1, 5_000, 700_000, 3_600_000))

    # ---- workers and nodes ----

    def host(self, random: Random) -> Host:
        """One of the hosts."""
        return random.choice(list(self.cluster.hosts.values()))

    def take(self, random: Random) -> None:
        """A worker takes a hint."""
        self.cluster.take(self.host(random))

    def end(self, random: Random) -> None:
        """A run ends."""
        running = [(host, run) for host in self.cluster.hosts.values() for run in host.processes.values()]
        if running:
            host, process = random.choice(running)
            delay = random.choice((None, 0, 60_000))
            retry_at = None if delay is None else self.cluster.log.at + delay
            self.cluster.end(host, process, random.choice(OUTCOMES), retry_at, with_task=random.random() < 0.5)

    def hints(self, random: Random) -> None:
        """A hint is lost or doubled."""
        streams = [self.cluster.shared, *(host.stream for host in self.cluster.hosts.values())]
        stream = random.choice([stream for stream in streams if stream] or [[]])
        if stream:
            stream.append(stream[0]) if random.random() < 0.5 else stream.pop(0)

    def crash(self, random: Random) -> None:
        """A worker is killed, and another started there later."""
        self.cluster.crash(self.host(random))

    def join(self, random: Random) -> None:
        """A daemon starts where none runs."""
        host = self.host(random)
        if not host.up:
            self.cluster.join(host)

    def lose(self, random: Random) -> None:
        """A lease runs out: the node is down, or cut off and still at work."""
        host = self.host(random)
        plan = self.cluster.plan
        events = decide_lost(plan.nodes[host.name], "lease")
        if events:
            lost = msgspec.structs.replace(plan.nodes[host.name], status="lost")
            agents = [agent for agent in plan.agents.values() if agent.node == host.name]
            self.cluster.commit([*events, *decide_health_by_nodes(agents, {host.name: lost}, plan.floor)])

    def watch(self, random: Random) -> None:
        """The leader tells what the nodes mean for their agents."""
        plan = self.cluster.plan
        self.cluster.commit(decide_health_by_nodes(plan.agents.values(), plan.nodes, plan.floor))

    def hold(self, random: Random) -> None:
        """A node is shut down."""
        self.cluster.put(e.NodeHeld(self.host(random).name, "shutdown"))

    def resume(self, random: Random) -> None:
        """It takes work again."""
        self.cluster.put(e.NodeResumed(self.host(random).name))

    def restore(self, random: Random) -> None:
        """Back to a position of the last few."""
        self.cluster.restore(max(1, self.cluster.log.head - random.randrange(30)))


OFTEN = ("dispatch", "step_task", "schedule", "take", "end") * 4
NOW_AND_THEN = ("cancel", "retry", "clock", "assign", "compare", "join", "resume", "health", "restart", "watch") * 2
OF_STEPS = ("archive", "let_go") * 2
SELDOM = ("new_scheduler", "hints", "crash", "lose", "hold", "stop")
ALL = OFTEN + NOW_AND_THEN + OF_STEPS + SELDOM
STEPS = st.tuples(st.sampled_from(ALL), st.integers(0, 2**32))
STEPS_WITH_RESTORES = st.tuples(st.sampled_from((*ALL, "restore")), st.integers(0, 2**32))
AT_NODES = ("lose", "crash", "join", "hold")
FIRST = ("cancel", "dispatch", "step_task", "archive", "end", "take", "stop", "assign", "health", *AT_NODES)
PATIENT = settings(max_examples=80, deadline=None, report_multiple_bugs=False, suppress_health_check=list(HealthCheck))


def test_a_run_that_is_to_begin_where_its_instance_holds_no_more_is_withdrawn_by_who_followed_the_log() -> None:
    begun: list[tuple[str, int]] = [("dispatch", 0)] * 33
    held = [("step_task", 16170), ("cancel", 0), ("archive", 524287), ("archive", 297)]
    play([*begun, *held, ("schedule", 0), ("schedule", 133935), ("compare", 0)])


@given(st.lists(STEPS, min_size=40, max_size=160))
@PATIENT
def test_no_interleaving_loses_doubles_or_strands_anything(steps: list[tuple[str, int]]) -> None:
    play(steps)


@given(st.lists(STEPS_WITH_RESTORES, min_size=40, max_size=160))
@PATIENT
def test_nor_does_one_with_restores(steps: list[tuple[str, int]]) -> None:
    play(steps)


@given(st.lists(STEPS, min_size=20, max_size=80))
@PATIENT
def test_a_cancel_ends_every_task_though_all_its_nodes_are_lost_for_good(steps: list[tuple[str, int]]) -> None:
    parties = Parties()
    for what, number in steps:
        parties.step(what, number)
    cluster = parties.cluster
    for name in NODES:
        cluster.put(e.NodeLost(name, "lease"))
    for name, row in cluster.log.fold().tasks.items():
        if row.open and row.cancel is None:
            cluster.commit(decide_cancel(name, row, "enough", cluster.log.floor))
    while cluster.schedule():
        pass
    assert not cluster.plan.tasks
    assert not any(row.open for row in cluster.log.fold().tasks.values())


def play(steps: list[tuple[str, int]]) -> Cluster:
    """All steps, then peace: what is open must end."""
    parties = Parties()
    for what, number in steps:
        parties.step(what, number)
    parties.cluster.check_log()
    parties.cluster.quiet()
    parties.cluster.check()
    parties.cluster.check_log()
    return parties.cluster
