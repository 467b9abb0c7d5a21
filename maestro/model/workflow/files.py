"""Files that steps leave to later ones: which paths a step must leave, and which a later step gets."""

from __future__ import annotations

import re
from functools import lru_cache

from maestro.model.facts import BlobRef
from maestro.model.workflow.definition import Step, Workflow
from maestro.model.workflow.instances import Instance, instance_id, parse_instance
from maestro.model.workflow.run import Run

_PARTS = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_AS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@lru_cache(1024)
def pattern(path: str) -> re.Pattern[str]:
    """A declared path as a regular expression: `*` and `?` within a folder, `**` over folders."""
    return re.compile("".join(_AS.get(part) or re.escape(part) for part in _PARTS.findall(path)), re.DOTALL)


def left(workflow: Workflow, step: str) -> tuple[str, ...]:
    """The paths that a step has to leave, as later steps declare them."""
    found: dict[str, None] = {}
    for one in workflow.steps:
        for files in one.copies:
            source = parse_instance(files.start)
            if source is not None and source[0] == step:
                found.update(dict.fromkeys(files.paths))
    return tuple(found)


def brought(run: Run, step: Step, instance: Instance) -> dict[str, BlobRef]:
    """The files that an attempt gets, by path, from the newest round of the steps that its step names.

    What a child run was given goes to those of its steps that need no other, when they start for the first time.
    """
    is_first = not run.graph.needs[step.id] and not instance.attempts and instance.round == 1
    found: dict[str, BlobRef] = dict(run.fact.brings) if is_first else {}
    for files in step.copies:
        source = parse_instance(files.start)
        if source is None or source[0] not in run.current:
            continue
        name, _, item = source
        told = run.told.get(instance_id(name, run.current[name].round, item))
        for path, blob in (told.files if told is not None else {}).items():
            if any(pattern(wanted).fullmatch(path) for wanted in files.paths):
                found[path] = blob
    return found
