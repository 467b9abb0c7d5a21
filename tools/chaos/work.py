"""The work of a chaos trial: tasks and states, retried until they are acknowledged, and remembered."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from maestro.model.errors import MaestroError
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p
from tools.chaos.installation import Installation

AGENTS = 3
TASKS = 9
SETTLE_S_MAX = 90.0
STRIKE_S_MAX = 1.5
POLL_S = 0.1
SCRIPT = Path(__file__).with_name("agent.py")
OPEN = ("queued", "running")


class Orphaned(Exception):
    """The task that was to be waited for was lost with a failover's tail."""


class Work:
    """The acknowledged work. tasks: key -> id; states: key -> value; once: keys of states set by the first try."""

    def __init__(self, installation: Installation, rng: Random) -> None:
        self.installation = installation
        self.rng = rng
        self.evidence = installation.place.path / "evidence"
        self.evidence.mkdir()
        self.tasks: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.once: set[str] = set()
        self._deadline = 0.0

    def assign(self) -> None:
        """Assign the agents, each with its own workspace; by the command line, whose environment has their type."""
        home = self.installation.home
        home.define("worker")
        for number in range(AGENTS):
            workspace = str(self.installation.place.path / f"workspace-{number}")
            home.run("agent", "assign", "worker", "--name", f"a{number}", "--to-workspace", workspace)

    def dispatch(self, turn: int = 0) -> None:
        """Dispatch the tasks and set the states, in turn, with pauses. turn: how often that was done before."""
        self._deadline = time.monotonic() + SETTLE_S_MAX
        for number in range(TASKS * turn, TASKS * turn + TASKS):
            key = f"task-{number}"
            task = self._long_task(key) if number % TASKS == TASKS - 1 else self._task(key)
            with suppress(Orphaned):
                self.tasks[key] = self.insist(task)[0]["id"]
            key, value = f"state-{number}", f"{self.rng.random()}"
            _, first = self.insist(p.StateSet(key=key, value=value, ttl="0"))
            self.states[key] = value
            self.once |= {key} if first else set()
            time.sleep(self.rng.uniform(0, 0.15))

    def _task(self, key: str) -> p.TaskDispatch:
        rng = self.rng
        return p.TaskDispatch(
            prompt=self._prompt(rng.choice([0.02, 0.1, 0.3]), rng.choice([0, 0, 0, 3])),
            to=rng.sample([f"a{number}" for number in range(AGENTS)], rng.choice([1, 1, 2])),
            key=key,
            depends_on=rng.sample(sorted(self.tasks.values()), 1) if self.tasks and rng.random() < 0.4 else [],
            priority=rng.choice([None, 1, 5]),
            retries=rng.choice([0, 1]),
            force=True,
        )

    def _long_task(self, key: str) -> p.TaskDispatch:
        """The last task, long enough that a late strike still finds an agent running."""
        return p.TaskDispatch(prompt=self._prompt(STRIKE_S_MAX, 0), to=["a0"], key=key, priority=1, force=True)

    def _prompt(self, seconds: float, code: int) -> str:
        agent = f"{sys.executable} -I -S '{SCRIPT}' \"$MAESTRO_WORKSPACE\" '{self.evidence}'"
        return f"exec {agent} {seconds} {code}"

    def settle(self) -> None:
        """Wait until every acknowledged task has ended. Raises TimeoutError with those that have not."""
        self._deadline = time.monotonic() + SETTLE_S_MAX
        waiting = sorted(self.kept_tasks().values())
        while waiting := [task for task in waiting if self.insist(p.TaskStatus(id=task))[0]["status"] in OPEN]:
            if time.monotonic() > self._deadline:
                raise TimeoutError(f"not ended after {SETTLE_S_MAX:.0f} s: {', '.join(waiting)}")
            time.sleep(POLL_S)

    def kept_tasks(self) -> dict[str, str]:
        """The acknowledged tasks, without those that a failover lost."""
        return {key: task for key, task in self.tasks.items() if task not in self.installation.lost}

    def kept_states(self) -> dict[str, str]:
        """The acknowledged states, without those that a failover lost."""
        return {key: value for key, value in self.states.items() if key not in self.installation.lost}

    def evidence_of(self, name: str) -> list[str]:
        """The lines that agents recorded under this name."""
        path = self.evidence / name
        return path.read_text().splitlines() if path.exists() else []

    def insist(self, command: p.Command) -> tuple[Any, bool]:
        """Repeat a command until it is acknowledged; returns the answer, and whether the first try got it."""
        first = True
        while True:
            try:
                return self.ask(command), first
            except (MaestroError, OSError):
                if isinstance(command, p.TaskDispatch) and self.installation.lost.intersection(command.depends_on):
                    raise Orphaned from None
                if time.monotonic() > self._deadline:
                    raise
                first = False
                time.sleep(POLL_S)

    def ask(self, command: p.Command) -> Any:
        """Send one command by the protocol. Raises MaestroError when it fails."""
        answer = client.execute(command, self.installation.home.settings, lambda _: None)
        if isinstance(answer, p.Failed):
            raise MaestroError(answer.what, answer.where, answer.mend)
        return answer.data
