"""Files that steps leave to later ones: which paths a step must leave, and which a later step gets."""

from __future__ import annotations

from maestro.model.facts import BlobRef
from maestro.model.workflow.definition import Step, Workflow
from maestro.model.workflow.instances import Instance, instance_id, parse_instance
from maestro.model.workflow.path_patterns import PathPatterns
from maestro.model.workflow.run import Run


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
        patterns = PathPatterns(files.paths)
        told = run.told.get(instance_id(name, run.current[name].round, item))
        for path, blob in (told.files if told is not None else {}).items():
            if _matches(patterns, path):
                found[path] = blob
    return found


def _matches(patterns: PathPatterns, path: str) -> bool:
    """Whether a path of a file is one of those that patterns mean: as the step that left it had them found."""
    places = patterns.start
    for name in path.split("/"):
        places = patterns.step(places, name)
    return bool(patterns.matched(places))
