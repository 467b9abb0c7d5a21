"""Steps and instances of a run on their way: they wait, are readied, open, begin, wait again, settle, go round.

Every change costs what it changes, never what the run has.
"""

from __future__ import annotations

from maestro.model.facts.workflow import StepReadied, WorkflowRunStarted
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.folding.run_state import RunState
from maestro.model.workflow.instances import FAILED, Activation, Instance, instance_id, parse_instance


class Activations(RunState):
    """A run with the ways of its steps. A step in one round is an activation."""

    def __init__(self, fact: WorkflowRunStarted, at: int, workflow: Workflow) -> None:
        super().__init__(fact, at, workflow)
        self._begin(at)

    def _begin(self, at: int) -> None:
        """Each step waits for its needs; those without any may go on."""
        for step in self.graph.order:
            round = self.fact.rounds.get(step, 1)
            self.current[step] = Activation(step, round, len(self.graph.needs[step]), since=at)
            self.left += not self.graph.below[step]
        self._reuse(at)
        for step in self.graph.order:
            activation = self.current[step]
            if not activation.needs and activation.status == "waiting" and step not in self.graph.handlers:
                self._ready(step, at)
        self._tick(at)

    # What a resumed run takes over

    def _reuse(self, at: int) -> None:
        """Take over what a resumed run reuses: instances that have ended, and the steps that have with them."""
        self.turns |= self.fact.turns
        self.turned |= set(self.fact.turned)
        whole: dict[str, list[str]] = {}
        for id, told in self.fact.reused.items():
            parsed = parse_instance(id)
            if parsed is None or parsed[0] not in self.steps:
                continue
            step, round, item = parsed
            one = Instance(id, step, round, item, told.status, since=at, outcome=told.outcome, why=told.why)
            one.agent, one.session, one.tokens, one.cost = told.agent, told.session, told.tokens, told.cost
            one.input_tokens, one.output_tokens = told.input_tokens, told.output_tokens
            self.instances[id] = one
            if told.agent:
                agents = self.steps[step].agents
                self.worked[step, item] = (told.agent, agents.index(told.agent) if told.agent in agents else 0)
            if item is not None:
                self.sizes[step, round] = max(self.sizes.get((step, round), 0), item + 1)
            if round == self.current[step].round and (item is None or step not in self.fact.items):
                whole.setdefault(step, []).append(told.status if item is None else "")
                self.current[step].failed += told.status in FAILED
        for step, statuses in whole.items():
            activation = self.current[step]
            activation.status = statuses[-1] or ("failed" if activation.failed else "completed")
            self.left -= not self.graph.below[step]
        for step in self.graph.order:
            if step in whole:
                self._release(step, at)

    # Activations

    def _ready(self, step: str, at: int) -> None:
        self.current[step].status, self.current[step].since = "ready", at
        self.ready[step] = None

    def _release(self, ended: str, at: int) -> None:
        """Count a step that has ended with those that need it, but for what waits for the end of its loops."""
        inside = self.loops_of.get(ended, ())
        for follower in self.graph.followers[ended]:
            if any(end not in self.turned and follower not in self.graph.loops[end].body for end in inside):
                continue
            self._met(follower, at)

    def _met(self, step: str, at: int) -> None:
        activation = self.current[step]
        activation.needs -= 1
        if activation.needs == 0 and activation.status == "waiting":
            self._ready(step, at)

    def _settle(self, step: str, status: str, at: int) -> None:
        """A step has ended in its present round."""
        activation = self.current[step]
        if activation.done:
            return
        activation.status, activation.since = status, at
        for kept in (self.ready, self.startable, self.asking, self.failing):
            kept.pop(step, None)
        self.deadlines.drop(step)
        self.retries.drop(step)
        self.left -= not self.graph.below[step]
        if status not in ("completed", "skipped") and self.steps[step].on_failure != "continue":
            if not (self.ends_as and status == "cancelled"):  # what the end of the run has cancelled did not fail
                self.failures.append(step)
            return
        loop = self.graph.loops.get(step)
        if loop is None or step in self.turned:
            self._release(step, at)
        elif loop.body and status != "skipped" and (not self.ends_as or self.admits(step)):
            self.turning[step] = None
        else:
            self._close_loop(step, at)

    def _close_loop(self, end: str, at: int) -> None:
        """A loop has ended: what waits outside for its steps goes on."""
        self.turned.add(end)
        body = self.graph.loops[end].body
        for step in body:
            inside = self.loops_of.get(step, ())
            for follower in self.graph.followers[step]:
                waits = any(one not in self.turned and follower not in self.graph.loops[one].body for one in inside)
                if follower not in body and not waits:
                    self._met(follower, at)
        # within the body the end's own followers are none, as it is the last

    def _round(self, end: str, at: int) -> None:
        """Another round of a loop: each step of the body anew, loops inside from their beginning."""
        self.turns[end] += 1
        body = self.graph.loops[end].body
        for step in body:
            needs = sum(name in body for name in self.graph.needs[step])
            self.current[step] = Activation(step, self.current[step].round + 1, needs, since=at)
            self.left += not self.graph.below[step]
            if step in self.graph.loops and step != end:
                self.turns[step] = 1
                self.turned.discard(step)
        self._ready(self.graph.loops[end].start, at)

    def _open(self, fact: StepReadied, at: int) -> None:
        """Let the instances of a step go."""
        step, activation = fact.step, self.current[fact.step]
        activation.status, activation.since = "open", at
        items: list[int | None] = [None]
        if fact.items is not None:
            self.items[step] = fact.items
            self.sizes[step, fact.round] = len(fact.items)
            items = list(range(len(fact.items)))
        activation.total = len(items)
        for item in items:
            id = instance_id(step, fact.round, item)
            if id in self.instances and self.instances[id].ended:  # of the run that this one resumes
                activation.ended += 1
                continue
            agent, link = self.worked.get((step, item), ("", 0))
            instance = Instance(id, step, fact.round, item, "waiting", "slot", at, agent=agent, link=link)
            back = self.fact.archives.get(id) if self.fact.restores else None
            if back is not None:
                instance.snapshot, instance.agent = back.snapshot, back.target or agent
            if fact.approval is not None:
                instance.approval = fact.approval
            self.instances[id] = instance
            activation.queue[id] = None
        if activation.queue:
            self._offer(step)
        else:
            self._settle(step, "completed", at)

    def _offer(self, step: str) -> None:
        """Keep a step among those that may start something exactly while it may."""
        activation = self.current[step]
        has_room = self.room(step) > 0
        if has_room and activation.queue:
            self.startable[step] = None
        else:
            self.startable.pop(step, None)
        first = activation.retrying.first
        if has_room and first is not None:
            self.retries.set(step, first)
        else:
            self.retries.drop(step)

    def _take(self, instance: Instance) -> None:
        """An instance begins to work, or its workspace is made ready for it."""
        activation = self.current[instance.step]
        activation.queue.pop(instance.id, None)
        activation.retrying.drop(instance.id)
        activation.taken[instance.id] = None
        self._forget(instance.id)
        self._offer(instance.step)

    def _forget(self, id: str) -> None:
        for kept in (self.retrying, self.prepared, self.wishes, self.working, self.broken, self.dropped):
            kept.pop(id, None)

    def _wait(self, instance: Instance, following: str, due: int, at: int) -> None:
        """An instance waits for another attempt; meanwhile others may take its place."""
        activation = self.current[instance.step]
        activation.queue.pop(instance.id, None)
        activation.taken.pop(instance.id, None)
        self._forget(instance.id)
        instance.status, instance.waiting_for, instance.since, instance.due = "waiting", following, at, due
        activation.retrying.set(instance.id, due)
        self.retrying[instance.id] = due
        self._offer(instance.step)

    def _end(self, instance: Instance, status: str, at: int) -> None:
        """An instance has ended for good."""
        instance.status, instance.waiting_for, instance.since, instance.due = status, "", at, 0
        instance.ended_at = at
        self._forget(instance.id)
        activation = self.current[instance.step]
        activation.queue.pop(instance.id, None)
        activation.taken.pop(instance.id, None)
        activation.retrying.drop(instance.id)
        activation.ended += 1
        activation.failed += status in FAILED
        if activation.ended < activation.total:
            self._offer(instance.step)
            if activation.failed and self.steps[instance.step].fail_fast:
                self.failing[instance.step] = None
        elif instance.item is None:
            self._settle(instance.step, status, at)
        else:
            group = "failed" if activation.failed else "cancelled" if activation.dropped else "completed"
            self._settle(instance.step, group, at)

    def _drop(self, step: str, activation: Activation, at: int) -> None:
        """The run ends: what has not begun is skipped; what waits for another attempt is to be told to have ended."""
        self.ready.pop(step, None)
        self.asking.pop(step, None)
        self.deadlines.drop(step)
        if activation.status in ("waiting", "ready"):
            activation.status, activation.since, activation.dropped = "skipped", at, True
            self.left -= not self.graph.below[step]
            return
        waiting = [self.instances[one] for one in activation.queue]
        if activation.status == "approval":
            self.asked.pop(step, None)
            waiting.append(self.instances[instance_id(step, activation.round)])
        activation.dropped = activation.dropped or bool(waiting)
        self.dropped.update(dict.fromkeys(id for id in activation.retrying))
        self.dropped.update(dict.fromkeys(id for id in activation.taken if id not in self.working))
        for instance in waiting:
            self._end(instance, "skipped", at)
