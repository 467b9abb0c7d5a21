"""The definition of a workflow: its keys as structs, as people write them in YAML.

`checks.py` finds what types cannot express, `graph.py` what follows from the needs of the steps.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Keys(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of mappings in a definition. Fields without a default are required in it."""


class Retries(Keys, frozen=True, kw_only=True):
    """New attempts of a step that failed. max: after the first; backoff, max_delay: seconds, backoff × 2ⁿ⁻¹ at most.

    workspace: what the next attempt finds there, what the last one left, or what was there before the step. resume: go
    on with the agent's own session. prompt: what the attempts after the first are told, "" for the same again.
    """

    max: int
    backoff: float = 10.0
    max_delay: float = 300.0
    workspace: Literal["keep", "restore"] = "keep"
    resume: bool = msgspec.field(name="continue", default=False)
    prompt: str = ""


class Again(Keys, frozen=True, kw_only=True):
    """A loop back to an earlier step. start: where a round begins; until: an expression that ends it; max: rounds."""

    start: str = msgspec.field(name="from")
    until: str
    max: int


class Approval(Keys, frozen=True, kw_only=True):
    """A person's yes or no. timeout: seconds, None for no limit; on_timeout: the answer then."""

    prompt: str = ""
    timeout: float | None = None
    on_timeout: Literal["reject", "approve"] = "reject"


class Files(Keys, frozen=True, kw_only=True):
    """Files of an earlier step that are copied in. start: the step; paths: relative, with `*` and `**`."""

    start: str = msgspec.field(name="from")
    paths: tuple[str, ...]


class Budget(Keys, frozen=True, kw_only=True):
    """What a run and its children may use. on_exceeded: start nothing new and ask, or end the run."""

    cost: float | None = None
    tokens: int | None = None
    on_exceeded: Literal["pause", "stop"] = "pause"


class Concurrency(Keys, frozen=True, kw_only=True):
    """One run at a time in a group. when_busy: wait in line, be refused, or cancel the one that is there."""

    group: str
    when_busy: Literal["queue", "reject", "replace"] = "queue"


class Schedule(Keys, frozen=True, kw_only=True):
    """When runs start by themselves. missed: whether what was due while nobody was there starts once."""

    cron: str
    tz: str = "UTC"
    missed: Literal["once", "skip"] = "once"
    params: dict[str, Any] = {}


class Step(Keys, frozen=True, kw_only=True):
    """One step: an agent with a prompt, a command, another workflow, or only an approval.

    agent: an agent, a type, a pool, or a chain of them. place: whose workspace, or `run` for the run's own folder.
    when: an expression; false skips the step. for_each: an expression, or a list, whose items each get an instance.
    verify: a command that must exit 0 after a good end. answer_schema: a JSON Schema for the final text. on_failure:
    `stop`, `continue`, or the step that runs then. timeout: seconds that an attempt may take.
    """

    id: str
    description: str = ""
    agent: str | tuple[str, ...] = ()
    prompt: str = ""
    run: str = ""
    shell: Literal["sh", "bash"] = "sh"
    workflow: str = ""
    params: dict[str, Any] = msgspec.field(name="with", default_factory=dict)
    approval: bool | Approval = False
    needs: str | tuple[str, ...] = ()
    on_success: str | tuple[str, ...] = ()
    on_failure: str = "stop"
    when: str | bool = True
    for_each: str | tuple[Any, ...] | None = None
    max_parallel: int | None = None
    fail_fast: bool = False
    again: Again | None = None
    retries: int | Retries = 0
    timeout: float | None = None
    verify: str = ""
    answer_schema: dict[str, Any] | None = msgspec.field(name="schema", default=None)
    snapshot: bool = False
    place: str = msgspec.field(name="in", default="")
    files: Files | tuple[Files, ...] = ()
    outputs: dict[str, str] = {}
    env: dict[str, str] = {}
    priority: int | None = None

    @property
    def agents(self) -> tuple[str, ...]:
        """The chain of agents, () for a step without."""
        return (self.agent,) if isinstance(self.agent, str) else self.agent

    @property
    def kind(self) -> str:
        """`agent`, `run`, `workflow` or `approval`."""
        return "agent" if self.agent else "run" if self.run else "workflow" if self.workflow else "approval"

    @property
    def copies(self) -> tuple[Files, ...]:
        """The files that are copied in."""
        return (self.files,) if isinstance(self.files, Files) else self.files

    @property
    def retry(self) -> Retries:
        """The rule of new attempts."""
        return Retries(max=self.retries) if isinstance(self.retries, int) else self.retries


class Workflow(Keys, frozen=True, kw_only=True):
    """A definition. name: a title; version: the author's own; vars: parameters with their defaults.

    on_failure: a step that runs once when a run is about to end failed or timed out; final: one that runs at every end;
    result: a template whose text, or a child's `json`, the run tells.
    """

    name: str = ""
    version: str | float | int = ""
    description: str = ""
    vars: dict[str, Any] = {}
    env: dict[str, str] = {}
    timeout: float | None = None
    budget: Budget | None = None
    concurrency: Concurrency | None = None
    schedules: tuple[Schedule, ...] = ()
    on_failure: str = ""
    final: str = msgspec.field(name="finally", default="")
    result: str = ""
    steps: tuple[Step, ...]


def listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """One text or several, as several."""
    return (value,) if isinstance(value, str) else value
