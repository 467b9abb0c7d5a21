"""Commands about workflows: their definitions, and the start of a run.

Where a definition has errors, the answer is an Item for each thing that was found, {file, line, column, what, mend,
level, text}, and the exit code 2; level: error, warning or notice. Warnings and notices are Items of an answer with
exit code 0, too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.runtime.protocol.commands import Command


class WorkflowCheck(Command, frozen=True, tag_field="kind", tag="workflow validate"):
    """Check a definition without storing it. Data: {valid, file}.

    definition: its text; file: as errors name it; name: as what it would be stored, "" for nothing.
    """

    definition: str
    file: str
    name: str = ""


class WorkflowCreate(Command, frozen=True, tag_field="kind", tag="workflow create"):
    """Store a definition as the next version of a workflow. Data: version row, with `stored`: whether it is new.

    vars: over the defaults of its own; vars_file: where these come from.
    """

    name: str
    definition: str
    file: str
    vars: dict[str, Any] = msgspec.field(default_factory=dict)
    vars_file: str = ""


class WorkflowList(Command, frozen=True, tag_field="kind", tag="workflow list"):
    """List stored workflows. Items: {id, title, version, versions, schedules, enabled, stored_at, by, digest}."""


class WorkflowShow(Command, frozen=True, tag_field="kind", tag="workflow show"):
    """Show a workflow. Data: a version row, with {enabled, deleted, definition, source, versions: [version row]}.

    version: 0 for the newest.
    """

    id: str
    version: int = 0


class WorkflowDiff(Command, frozen=True, tag_field="kind", tag="workflow diff"):
    """Compare two versions. Data: {id, a, b, same, diff}: a unified diff of their texts."""

    id: str
    a: int
    b: int


class WorkflowDelete(Command, frozen=True, tag_field="kind", tag="workflow delete"):
    """Delete a workflow; its history stays. Data: {id, deleted}."""

    id: str


class WorkflowSwitch(Command, frozen=True, tag_field="kind", tag="workflow enable"):
    """Switch the schedules of a workflow on or off. Data: {id, enabled, schedules}."""

    id: str
    enabled: bool


class WorkflowGraph(Command, frozen=True, tag_field="kind", tag="workflow graph"):
    """Draw the steps of a stored workflow, or of a run with its states, as Output frames."""

    id: str
    mermaid: bool = False


class WorkflowStart(Command, frozen=True, tag_field="kind", tag="workflow run"):
    """Start a run of a workflow. Data: run header row; where a definition has errors, as `WorkflowCreate`.

    definition, file: stored first as `workflow`, "" for a workflow that is stored. version: 0 for the newest. vars:
    values of a file, vars_file; params: texts as they are typed, by name. key: as of a dispatch; first: it was
    generated for this command. overrides: agent, or `*`, to agent.

    resume: `failed`, a step or an item, of the run `run`, "" for the newest that has ended. files: `keep` or `restore`.

    dry_run: nothing is appended. Data: {workflow, version, params, group, key, steps: [{id, needs, does, agents,
    chosen, again, prompt, why}]}; prompt: None where it cannot be rendered yet, why says why.
    """

    workflow: str
    definition: str = ""
    file: str = ""
    version: int = 0
    vars: dict[str, Any] = msgspec.field(default_factory=dict)
    vars_file: str = ""
    params: dict[str, str] = msgspec.field(default_factory=dict)
    key: str | None = None
    first: bool = False
    priority: int | None = None
    trace: bool = False
    overrides: dict[str, str] = msgspec.field(default_factory=dict)
    resume: str = ""
    run: str = ""
    files: str = "keep"
    force: bool = False
    dry_run: bool = False
