"""A workflow's definition as a file: read, fitted and checked; all that is wrong is told at once, with its place."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from maestro.documents.answer_schemas import schema_findings
from maestro.documents.conversion import fitted
from maestro.documents.schedules import schedule_findings
from maestro.documents.yaml_tree import Document, Limits, Unreadable, path_text, read
from maestro.model.workflow.checking.bounds import bound_findings
from maestro.model.workflow.checks import Finding, findings
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.stored.params import param_findings
from maestro.printable_text import shown

LIMITS = Limits(bytes_max=1 << 20, depth_max=24, nodes_max=100_000)
DURATIONS = frozenset({"timeout", "backoff", "max_delay"})
SHOWN_MAX = 100
"""So many errors of one file are told, no more."""
FOUND_MAX = 500
"""So many are looked for: each costs a search for what may have been meant."""


class Complaint(msgspec.Struct, frozen=True, order=True):
    """An error of a definition, or a warning. line, column: from 1."""

    line: int
    column: int
    what: str
    mend: str = ""
    level: str = "error"

    def text(self, where: str) -> str:
        """`FILE:LINE:COL: what; mend`."""
        what = self.what if self.level == "error" else f"{self.level}: {self.what}"
        return f"{shown(where)}:{self.line}:{self.column}: {what}" + (f"; {self.mend}" if self.mend else "")


class Reading(msgspec.Struct, frozen=True):
    """What was read. document: None for no YAML within the limits; workflow: None also where it cannot be understood.

    complaints: in the file's order.
    """

    document: Document | None
    workflow: Workflow | None
    complaints: tuple[Complaint, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether nothing of it is an error."""
        return self.workflow is not None and not any(one.level == "error" for one in self.complaints)


def read_workflow(text: str | bytes, where: str) -> Reading:
    """Read a definition, and say all that is wrong with it by itself."""
    try:
        document = read(text, where, LIMITS)
    except Unreadable as error:
        return Reading(None, None, (Complaint(error.spot.line, error.spot.column, error.what, error.mend),))
    data, misfits = fitted(document, Workflow, DURATIONS)
    complaints = [complaint(document, Finding(one.path, one.what, one.mend)) for one in misfits]
    workflow: Workflow | None = None
    try:
        workflow = msgspec.convert(data, Workflow)
    except msgspec.ValidationError as error:
        if not complaints:
            complaints.append(Complaint(1, 1, str(error)))
    else:
        broken = {(*one.path, one.key) if one.key else one.path for one in misfits}
        complaints += [
            complaint(document, one) for one in islice(_findings(workflow), FOUND_MAX) if one.path not in broken
        ]
    return Reading(document, workflow, tuple(sorted(set(complaints))))


def _findings(workflow: Workflow) -> Iterator[Finding]:
    yield from findings(workflow)
    yield from bound_findings(workflow)
    yield from param_findings(workflow)
    yield from schedule_findings(workflow)
    yield from schema_findings(workflow)


def complaint(document: Document, finding: Finding, level: str = "error") -> Complaint:
    """A finding with its place in the file."""
    spot = document.spot(finding.path)
    if finding.offset is not None:
        spot = document.spot_in(finding.path, finding.offset)
    label = path_text(finding.path)
    tells_id = finding.path[-1:] == ("id",) and not finding.what.startswith("is ")  # the words name it themselves
    what = finding.what if not label or tells_id else f"{label}: {finding.what}"
    return Complaint(spot.line, spot.column, what, finding.mend, level)


def told(reading: Reading, where: str) -> list[str]:
    """A line for each complaint, the first `SHOWN_MAX`, and how many more there are."""
    lines = [one.text(where) for one in reading.complaints[:SHOWN_MAX]]
    left = len(reading.complaints) - SHOWN_MAX
    return [*lines, f"{shown(where)}: … and {left} more"] if left > 0 else lines
