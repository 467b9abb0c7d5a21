"""The definitions of what is no agent's usual run: of a command, and of the agents that are always there."""

from __future__ import annotations

import os
import shutil
from typing import Final

import msgspec

from maestro.agents.definitions import BUILT_IN, Definition
from maestro.agents.parts import Budget, Output, Prompt, Success
from maestro.model.agent import Agent
from maestro.model.events import TaskDispatched
from maestro.model.scheduling.sites import ECHO_AGENT, RUN_AGENT
from maestro.runtime.evaluation.smallest_instance import smallest

_SHELLS: Final = {"sh": ("-e",), "bash": ("-eo", "pipefail")}
"""The arguments of each shell: a command that fails ends the script."""


def _virtual(slug: str, program: str) -> Definition:
    """A program that reads the prompt as a file."""
    words = ("{bin}", "{prompt_file}")
    return Definition(
        slug=slug,
        source=BUILT_IN,
        adapter="none",
        bin=program,
        executable=program,
        argv=words,
        prompt=Prompt(via="file"),
    )


_VIRTUAL: Final = {RUN_AGENT: _virtual("run", "/bin/sh"), ECHO_AGENT: _virtual("echo", "/bin/cat")}


def definition_of(agent: Agent) -> Definition:
    """How to run an agent. Raises Invalid where its recorded definition cannot be read."""
    return _VIRTUAL.get(agent.id) or Definition.from_dict(agent.definition)


def definition_for(definition: Definition, dispatched: TaskDispatched | None) -> Definition:
    """How to run an agent for a task: a command runs instead of its program, with its isolation, limits and variables.

    Its exit code alone says how it ended.
    """
    if dispatched is None or not dispatched.command or definition is _VIRTUAL[ECHO_AGENT]:
        return definition
    shell = dispatched.command
    return msgspec.structs.replace(
        definition,
        bin=shell,
        executable=_program(shell, definition.path),
        argv=("{bin}", *_SHELLS.get(shell, ()), "{prompt_file}"),
        args=(),
        prompt=Prompt(via="file"),
        cwd="{workspace}",
        files=(),
        output=Output(),
        success=Success(),
        resume=None,
        budget=Budget(),
        verify="",
        own_sandbox=False,
    )


def _program(shell: str, path: str) -> str:
    """The path of a shell; where there is none, one that says so when it is started."""
    return f"/bin/{shell}" if shell == "sh" else shutil.which(shell, path=path or os.defpath) or f"/bin/{shell}"


def prompt_of(agent: str, dispatched: TaskDispatched, data: bytes) -> bytes:
    """What an agent is told: the prompt; the one that answers its prompt, where a schema asks for it, an answer to it.

    data: the prompt.
    """
    if agent != ECHO_AGENT or dispatched.answer_schema is None:
        return data
    return msgspec.json.encode(smallest(dispatched.answer_schema))
