"""A node whose command line is called in this process, for tests of workflows: a command takes a few milliseconds."""

from __future__ import annotations

import json
import shlex
from typing import Any, NamedTuple

from tests.cli.conftest import CommandLine
from tests.runtime.acting import Node


class Told(NamedTuple):
    """What a command line printed, and its exit code."""

    code: int
    out: str
    err: str


class WorkflowPlace:
    """A node, and the command line in its environment."""

    def __init__(self, node: Node, line: CommandLine) -> None:
        self.node = node
        self._line = line

    def run(self, *words: str) -> Told:
        """Run `maestro workflow <words>`."""
        return Told(*self._line.here("workflow", *words))

    def follow(self, way: str, code: int = 0) -> Told:
        """Run the command that a text names, `maestro …`."""
        told = Told(*self._line.here(*shlex.split(way)[1:]))
        assert told.code == code, (way, told)
        return told

    def json(self, *words: str) -> Any:
        """Run, insist on success, and return what it printed as JSON."""
        told = self.run(*words)
        assert told.code == 0, (words, told)
        return json.loads(told.out)

    def refused(self, code: int, *words: str) -> str:
        """Run what must be refused; what stderr says."""
        told = self.run(*words)
        assert told.code == code, (words, told)
        assert "Traceback" not in told.err
        return told.err.strip()

    def file(self, name: str, text: str) -> str:
        """Write a definition; its path."""
        path = self.node.folder / name
        path.write_text(text)
        return str(path)

    def create(self, name: str, text: str, *words: str) -> Any:
        """Store a definition."""
        return self.json("create", name, "--definition", self.file(f"{name}.yaml", text), *words)

    def started(self, run: str) -> Any:
        """The event that started a run."""
        return next(event.fact for event in self.node.events("workflow_run.started") if event.fact.run == run)
