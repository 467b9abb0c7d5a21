"""The check of a definition without a store: what it names is looked for among the types of agents here only."""

from __future__ import annotations

import msgspec

from maestro import config
from maestro.agents.known_types import known_types
from maestro.cli.printer import Row
from maestro.documents.workflow_file import SHOWN_MAX, complaint, read_workflow
from maestro.model.workflow.checking.installation import Surroundings, installation_findings


def offline_complaints(text: str, file: str) -> list[Row]:
    """All that is wrong with a definition, and what is unknown here as warnings."""
    reading = read_workflow(text, file)
    complaints = set(reading.complaints)
    if reading.workflow is not None and reading.document is not None:
        named = {target.removeprefix("type:") for step in reading.workflow.steps for target in step.agents}
        settings = config.load()
        types = known_types(settings.agents_dirs, named)
        guarded = types.in_failsafe(settings.failsafe_mode)
        here = Surroundings({}, types.all, types.silent, types.resuming, {}, guarded=guarded)
        for one in installation_findings(reading.workflow, here, is_offline=True):
            if one.if_written and reading.document.node(one.finding.path) is None:
                continue
            complaints.add(complaint(reading.document, one.finding, one.level))
    return [
        {"file": file, **msgspec.structs.asdict(one), "text": one.text(file)} for one in sorted(complaints)[:SHOWN_MAX]
    ]
