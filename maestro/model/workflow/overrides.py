"""Who works for a step: its agent, the next of its chain, the one that it stays with, or who stands in for it."""

from __future__ import annotations

from maestro.model.workflow.definition import Step
from maestro.model.workflow.instances import Instance
from maestro.model.workflow.run import Run

COMMANDS = ".run"
"""The agent that is always there for commands in the run's folder."""
ECHO = ".echo"
"""The agent that is always there to answer its prompt."""


def target_of(run: Run, instance: Instance) -> str:
    """The target of the next attempt of an instance."""
    step = run.steps[instance.step]
    return instance.agent or overridden(run.fact.overrides, named(step, instance.link))


def named(step: Step, link: int = 0) -> str:
    """The target that the definition names, at a place of the chain."""
    if step.kind == "run":
        return step.place if step.place not in ("", "run") else COMMANDS
    return step.agents[min(link, len(step.agents) - 1)]


def overridden(overrides: dict[str, str], target: str) -> str:
    """Who works instead of a target by `--agent-override`; the target itself without."""
    other = overrides.get(target) or overrides.get("*")
    return target if other is None else ECHO if other == "echo" else other


def stands_in(target: str) -> bool:
    """Whether a target only answers its prompt."""
    return target == ECHO
