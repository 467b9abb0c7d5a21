"""Who works for a step: its agent, the next of its chain, the one that it stays with, or who stands in for it."""

from __future__ import annotations

from collections.abc import Mapping

from maestro.model.workflow.definition import Step
from maestro.model.workflow.instances import Instance
from maestro.model.workflow.run import Run

COMMANDS = ".run"
"""The agent that is always there for commands in the run's folder."""
ECHO = ".echo"
"""The agent that is always there to answer its prompt."""
STAND_IN = "echo"
"""How a user calls that one."""
EVERY = "*"
"""All agents, and commands too, in `--agent-override`."""


def target_of(run: Run, instance: Instance) -> str:
    """The target of the next attempt of an instance."""
    step = run.steps[instance.step]
    return instance.agent or overridden(run.fact.overrides, named(step, instance.link))


def named(step: Step, link: int = 0) -> str:
    """The target that the definition names, at a place of the chain."""
    if step.kind == "run":
        return step.place if step.place not in ("", "run") else COMMANDS
    return step.agents[min(link, len(step.agents) - 1)]


def overridden(overrides: Mapping[str, str], target: str) -> str:
    """Who works instead of a target by `--agent-override`; the target itself without."""
    if target not in overrides and EVERY not in overrides:
        return target
    other = replaced(overrides, target)
    return ECHO if other == STAND_IN else other


def replaced(overrides: Mapping[str, str], target: str) -> str:
    """Who is named instead of a target, as a user names it."""
    return overrides.get(target, overrides.get(EVERY, target))


def overridden_chain(agents: tuple[str, ...], overrides: Mapping[str, str]) -> tuple[str, ...]:
    """The chain of agents as the overrides of its run make it, each once, as a user names them."""
    return tuple(dict.fromkeys(replaced(overrides, one) for one in agents))


def stands_in(target: str) -> bool:
    """Whether a target only answers its prompt."""
    return target == ECHO
