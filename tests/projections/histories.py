"""Histories for the tests: any facts in any order, out of a small world, so that they meet each other often."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from maestro.model import events as e
from maestro.model.events import Event, NewEvent
from maestro.model.ids import run_id
from maestro.store.contract import Append, Committed, Store
from projections.fold import Fold, digest
from projections.lineage import Line, cuts_of
from tests.projections.histories_of_nodes import part, permissions, shared

AGENTS = ("reviewer", "tester", "builder")
TASKS = tuple(f"t{n}" for n in range(6))
NODES = ("north", "south")
SNAPSHOTS = ("s1", "s2")
KEYS = ("port", "task:t1:result", "ключ", "a b")
STATUSES = ("completed", "failed", "cancelled", "timed_out", "skipped")
OUTCOMES = ("ok", "exit", "lost", "timeout", "cancelled")
WORKFLOWS = ("deploy", "review")
WORKFLOW_RUNS = tuple(f"w{n}" for n in range(4))
INSTANCES = ("build", "build#2", "review[0]", "gate")
ALERTS = ("task_failed:t1", "agent_unhealthy:tester", "store:")
SCHEDULES = ("nightly", "deploy#0")
EVIDENCE = (e.CheckFound("process", False, "it is stopped", 5.0, "s", 3.0, "kill -CONT 7"),)


class World:
    """Draws facts. next_run: the attempt of each task's slot that comes next."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.attempts: dict[tuple[str, int], int] = {}

    def event(self) -> NewEvent:
        """A fact about anybody, at any version."""
        once = (
            self.agent,
            self.node,
            self.state,
            self.snapshot,
            self.workflow,
            self.alert,
            self.schedule,
            self.restored,
            lambda: part(self.random),
            lambda: shared(self.random),
        )
        draw = self.random.choice((*once, *[self.task] * 2, *[self.run] * 3, *[self.workflow_run] * 3))
        return draw()

    def agent(self) -> NewEvent:
        """A fact about an agent or a type."""
        agent, priority = self.random.choice(AGENTS), self.pick(1, 5)
        facts: tuple[e.AnyFact, ...] = (
            e.AgentAssigned(
                agent,
                "shell",
                {"mode": "x", "env": {"b": "2", "a": "1"}},
                "/w",
                f"/w/{agent}",
                priority=priority,
                node=NODES[priority % 2],
            ),
            e.AgentStopped(agent, "asked"),
            e.AgentRestarted(agent),
            e.AgentReset(agent),
            e.AgentHealthChanged(agent, self.random.random() < 0.5, ("heartbeat",), "old"),
            e.AgentHealthChanged(agent, False, ("process",), "stopped", EVIDENCE, "t1-0.1", "t1", by_run=True),
            self._failsafe(agent),
        )
        if self.random.random() < 0.15:
            return NewEvent(
                "type:shell", e.AgentRegistered("shell", {"mode": "x", "n": self.pick(1, 9)}, "/etc/x.yaml")
            )
        return NewEvent(f"agent:{agent}", self.random.choice(facts))

    def _failsafe(self, agent: str) -> e.AnyFact:
        task = self.random.choice(TASKS)
        run = run_id(task, 0, self.attempts.get((task, 0), 0))
        return self.random.choice(
            (
                e.WorkspaceGuarded(agent, run, task, f"/w/{agent}", "s1", "north"),
                e.FailsafeReturned(agent, run, task, f"/w/{agent}", "s1", "s2", "exit", self.pick(1, 3)),
                e.FailsafeKept(agent, run, task, f"/w/{agent}", "s1", "somebody else has changed it"),
                e.GuardDropped(agent, run, self.random.random() < 0.5),
            )
        )

    def alert(self) -> NewEvent:
        """A fact about an alert, a webhook, or what it is to be told."""
        alert, endpoint = self.random.choice(ALERTS), self.random.choice(("e1", "e2"))
        delivery = f"d{self.pick(1, 4)}"
        name, _, subject = alert.partition(":")
        facts: dict[str, tuple[e.AnyFact, ...]] = {
            f"alert:{alert}": (
                e.AlertRaised(alert, name, subject, "warning", "it failed", "exit 3", 7, "maestro task logs t1"),
                e.AlertRaised(alert, name, subject, "critical", "gone", momentary=True, node="north"),
                e.AlertResolved(alert, self.random.choice(("recovered", "acknowledged", "gone")), "seen"),
                e.AlertSnoozed(alert, self.random.choice((0, 9_000)), "known"),
            ),
            f"webhook:{endpoint}": (
                e.WebhookConfigured(endpoint, "north", self.random.random() < 0.5),
                e.WebhookDisabled(endpoint, "410", self.random.random() < 0.5),
            ),
            f"delivery:{delivery}": (
                e.DeliveryQueued(delivery, endpoint, alert, "raised", self.pick(1, 9), self.pick(0, 1)),
                e.DeliveryAttempted(delivery, self.pick(1, 3), "500", 500, self.random.choice((None, 9))),
                e.DeliveryDone(delivery, 204),
                e.DeliveryQueued(delivery, endpoint, alert, "resolved", behind=self.pick(1, 2)),
                e.DeliveryRequested(delivery),
                e.DeliveryDropped(delivery, "1000 newer ones wait"),
            ),
        }
        about = self.random.choice(tuple(facts))
        return NewEvent(about, self.random.choice(facts[about]))

    def schedule(self) -> NewEvent:
        """A fact about a schedule, or what has fired of it."""
        schedule, due = self.random.choice(SCHEDULES), self.pick(1, 9) * 3_600_000
        facts: dict[str, tuple[e.AnyFact, ...]] = {
            f"schedule:{schedule}": (
                e.ScheduleAdded(
                    schedule, "0 2 * * *", "Europe/Berlin", "once", ("state", "snapshot"), "/w", "north", "{}"
                ),
                e.ScheduleRemoved(schedule),
                e.ScheduleSwitched(schedule, self.random.random() < 0.5),
            ),
            f"firing:{schedule}": (
                e.ScheduleFired(schedule, due, self.pick(0, 2)),
                e.ScheduleFired(schedule, due, by_hand=True),
                e.ScheduleSkipped(schedule, due, 2, "one of it is still on"),
                e.ScheduleEnded(schedule, due, True, "s1"),
                e.ScheduleEnded(schedule, due, False, why="disk full"),
            ),
        }
        about = self.random.choice(tuple(facts))
        return NewEvent(about, self.random.choice(facts[about]))

    def node(self) -> NewEvent:
        """A fact about a node."""
        node = self.random.choice(NODES)
        facts: tuple[e.AnyFact, ...] = (
            e.NodeJoined(node, "host", f"i{self.pick(1, 99)}", 4711, 4, "1.2.0"),
            e.NodeHeld(node, "shutdown"),
            e.NodeResumed(node),
            e.NodeLeft(node, "stopped"),
            e.NodeLost(node, "lease"),
            e.NodeJoined(node, "host", f"i{self.pick(1, 99)}", 4711, 4, "1.3.0", "/h", ("gpu", "big"), "ab" * 16),
            e.NodeDrainBegun(node, "repair"),
            e.NodeDrainEnded(node),
            e.NodeForgotten(node),
        )
        return NewEvent(f"node:{node}", self.random.choice(facts))

    def state(self) -> NewEvent:
        """A fact about a key of the state."""
        key = self.random.choice(KEYS)
        if self.random.random() < 0.3:
            return NewEvent(f"state:{key}", e.StateDeleted(key))
        value = self.random.choice(("v", "ß\n", e.BlobRef("ab" * 32, 70_000)))
        return NewEvent(f"state:{key}", e.StateSet(key, value, self.random.choice((None, 1, 3_600_000))))

    def task(self) -> NewEvent:
        """A fact about a task as a whole."""
        task = self.random.choice(TASKS)
        targets = self.random.sample((*AGENTS, "role:dev"), self.pick(1, 2))
        dispatched = e.TaskDispatched(
            task, "do it", "do it", tuple(targets), priority=self.random.choice((None, 1, 5)), retries=self.pick(0, 2)
        )
        of_step = e.TaskDispatched(
            task,
            "do it",
            "do it",
            (".run",),
            workflow="w0",
            root="w0",
            step="build",
            place="run",
            folder="/w/.workflows/w0",
        )
        status = self.random.choice(STATUSES)
        facts: tuple[e.AnyFact, ...] = (
            dispatched,
            of_step if self.random.random() < 0.3 else dispatched,
            e.TaskCancelRequested(task, "not needed"),
            e.TaskRetried(task, False, self.random.choice((None, 900)), self.random.choice((None, 2.5))),
            e.TaskFinished(task, status, "ok" if status == "completed" else "exit", 0),
            e.TaskFinished(task, status, "exit", 3),
            *permissions(task, run_id(task, 0, self.attempts.get((task, 0), 0)), self.pick(1, 3), self.pick(1, 3)),
        )
        return NewEvent(f"task:{task}", self.random.choice(facts))

    def run(self) -> NewEvent:
        """A fact about the latest run of a task's slot, or the release of its next one."""
        task, slot, agent = self.random.choice(TASKS), self.pick(0, 1), self.random.choice(AGENTS)
        attempt = self.attempts.get((task, slot), 0)
        if self.random.random() < 0.3:
            attempt = self.attempts[task, slot] = attempt + 1
            run = run_id(task, slot, attempt)
            released = e.RunReleased(run, task, slot, attempt, agent, None, 60.0, 1, shared=True, reason="ready")
            return NewEvent(f"run:{run}", released)
        run = run_id(task, slot, attempt)
        facts: tuple[e.AnyFact, ...] = (
            e.RunStarted(run, task, agent, "north", f"/r/{run}", "/w", self.random.choice((0, 1_780_000_000_000))),
            e.RunSessionOpened(run, task, agent, "s-1"),
            e.RunUsageReported(run, task, agent, 100, 20, 0.1),
            e.RunEnded(run, task, agent, self.random.choice(OUTCOMES), 0, result="done", duration_ms=5),
            e.RunEnded(run, task, agent, "exit", 3, retry_at=self.pick(1, 9)),
            e.RunParked(run, task, agent, 4),
        )
        return NewEvent(f"run:{run}", self.random.choice(facts))

    def snapshot(self) -> NewEvent:
        """A fact about a snapshot."""
        snapshot = self.random.choice(SNAPSHOTS)
        work = e.SnapshotWorkspace("tester", "/w/tester", "workspaces/tester", self.pick(1, 9))
        facts: tuple[e.AnyFact, ...] = (
            e.SnapshotStarted(snapshot, "asked", False, ("tester",), "north"),
            e.SnapshotStarted(snapshot, "reset", True, ("tester",), "north"),
            e.SnapshotTaken(
                snapshot, self.pick(1, 9), False, "", "asked", "ab" * 32, (work,), 70, 7, ("a\n",), "north"
            ),
            e.SnapshotFailed(snapshot, "disk full"),
            e.SnapshotExpired(snapshot),
            e.SnapshotPinned(snapshot),
            e.SnapshotUnpinned(snapshot),
        )
        return NewEvent(f"snapshot:{snapshot}", self.random.choice(facts))

    def workflow(self) -> NewEvent:
        """A fact about a definition."""
        workflow = self.random.choice(WORKFLOWS)
        number = self.pick(1, 3)
        facts: tuple[e.AnyFact, ...] = (
            e.WorkflowStored(workflow, number, '{"steps":[]}', "steps: []", "ab" * 32, "Ship", self.pick(0, 2)),
            e.WorkflowStored(workflow, number, e.BlobRef("ab" * 32, 9_000), "steps: []", "cd" * 32),
            e.WorkflowDeleted(workflow),
            e.WorkflowSwitched(workflow, self.random.random() < 0.5),
        )
        return NewEvent(f"workflow:{workflow}", self.random.choice(facts))

    def workflow_run(self) -> NewEvent:
        """A fact about the run of a workflow, as a whole or about one of its steps."""
        run = self.random.choice(WORKFLOW_RUNS)
        draw = self.random.choice((self._run_as_a_whole, self._step, self._workspace_of_a_step))
        return NewEvent(f"workflow-run:{run}", draw(run))

    def _run_as_a_whole(self, run: str) -> e.AnyFact:
        parent = self.random.choice(("", "", "w0"))
        return self.random.choice(
            (
                e.WorkflowRunStarted(run, self.random.choice(WORKFLOWS), 1, "{}", parent=parent, group="main"),
                e.WorkflowRunStarted(
                    run,
                    self.random.choice(WORKFLOWS),
                    2,
                    "{}",
                    key="nightly",
                    node="north",
                    folder=f"/w/.workflows/{run}",
                ),
                e.WorkflowRunAdmitted(run),
                e.WorkflowRunPaused(run, self.random.choice(("asked", "budget"))),
                e.WorkflowRunResumed(run, 100),
                e.WorkflowRunEnding(run, self.random.choice(STATUSES[:4]), "a step failed", "build"),
                e.WorkflowRunFinished(run, self.random.choice(STATUSES[:4]), "ok", result="done"),
            )
        )

    def _step(self, run: str) -> e.AnyFact:
        instance = self.random.choice(INSTANCES)
        step, _, _ = instance.partition("#")
        return self.random.choice(
            (
                e.StepReadied(run, step, 1, items=self.random.choice((None, ["a", 1])), until=self.pick(0, 9)),
                e.StepApproved(run, instance, self.random.random() < 0.5, "looks good"),
                e.StepStarted(run, instance, 1, self.random.choice(TASKS), agent="builder", told="do it"),
                e.StepEnded(run, instance, "completed", "ok", tokens=70, cost=0.25, result="done"),
                e.StepEnded(run, instance, "failed", "exit", next="retry", due=9, tokens=7),
                e.LoopTurned(run, step, 1, self.random.random() < 0.5, "ok"),
                e.HandlerCalled(run, "notify"),
            )
        )

    def _workspace_of_a_step(self, run: str) -> e.AnyFact:
        instance, node = self.random.choice(INSTANCES), self.random.choice(NODES)
        return self.random.choice(
            (
                e.WorkspaceArchiveWanted(run, instance, node, "/w/builder", "builder"),
                e.WorkspaceArchived(run, instance, "s1", size=70),
                e.WorkspaceRestoreWanted(run, instance, node, "/w/builder", "s1", "builder"),
                e.WorkspaceReturned(run, instance, "s1", changed=3),
            )
        )

    def other(self) -> NewEvent:
        """A fact that no view is made of."""
        return NewEvent("restore:r1", e.RestoreStarted("r1", 1))

    def restored(self) -> NewEvent:
        """A fact about a restore that cuts nothing."""
        placed = e.RestorePlaced("r1", "s1", ("/w/tester",))
        return NewEvent("restore:r1", self.random.choice((placed, e.RestoreFailed("r1", "no room"))))

    def pick(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self.random.randint(low, high)


def commit(store: Store, *events: NewEvent, floors: bool = False, cause: str = "cmd:test") -> Committed:
    """Append events in one append; it must succeed."""
    (result,) = store.log.commit([Append(events, "cli:test", cause, floors=floors)], None)
    assert isinstance(result, Committed), result
    return result


def restore(store: Store, to: int, *ends: NewEvent, name: str = "r") -> int:
    """Append a restore to a position, with what follows in the same append; the seq of its `restore.done`."""
    done = NewEvent(f"restore:{name}", e.RestoreDone(name, to))
    return commit(store, done, *ends, floors=True, cause=f"cmd:{name}").first


def grow(
    store: Store, random: Random, appends: int, restores: bool = False, world: World | None = None
) -> Iterator[int]:
    """Append random events; yields the head after each append."""
    world = world or World(random)
    for number in range(appends):
        head = store.log.head().seq
        if restores and head and random.random() < 0.1:
            ends = [world.event() for _ in range(random.randint(0, 2))]
            restore(store, random.randint(0, head), *ends, name=f"r{number}")
        else:
            events = [world.event() if random.random() < 0.95 else world.other() for _ in range(random.randint(1, 4))]
            commit(store, *events, cause=f"cmd:{number}")
        yield store.log.head().seq


def everything(store: Store) -> list[Event]:
    """The whole log."""
    return [event for events in store.log.scan(0, store.log.head().seq) for event in events]


def fresh(events: list[Event]) -> Fold:
    """A fold of these events over the line that leads to the last of them, found by looking at all."""
    fold = Fold(Line(cuts_of(events), events[-1].seq if events else 0))
    fold.apply(events)
    return fold


def stored(store: Store, generation: str) -> dict[str, str]:
    """The digests of the views as the store has them."""
    views = Fold().views
    return {view: digest(store.views.dump(generation, view), store.views.indexes(generation, view)) for view in views}
