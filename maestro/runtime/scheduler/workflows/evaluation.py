"""Evaluates the templates of a run in a process of its own: gathers what they read, and says what that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from maestro.model.errors import NotFound
from maestro.model.events import BlobRef, Text, WorkflowRunFinished
from maestro.model.workflow.run import Run
from maestro.model.workflow.template import Kind, Read, Template, TemplateFailed
from maestro.model.workflow.values import Parsed, read_of, values
from maestro.runtime.evaluation.evaluator import Evaluator
from maestro.runtime.node.context import Context
from maestro.runtime.server.rows import when

BLOB_BYTES_MAX = 8 * 1024 * 1024
TEMPLATES_KEPT = 4096


class Scope(NamedTuple):
    """Where a template stands: its run, its step, and the instance that it is evaluated for, "" for the whole step.

    key: of the definition, for what is said of a failure.
    """

    run: Run
    step: str
    instance: str = ""
    key: str = ""


class Rendered(NamedTuple):
    """A value, and what was read for it, by name, shortened."""

    value: Any
    read: dict[str, Any]


@lru_cache(TEMPLATES_KEPT)
def template_of(text: str, kind: Kind) -> Template:
    """A template that was read."""
    return Template(text, kind)


class Evaluation:
    """Evaluates templates one at a time. Raises TemplateFailed where one cannot be evaluated."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._evaluator = Evaluator()

    async def aclose(self) -> None:
        """End the process."""
        await self._evaluator.aclose()

    async def text(self, scope: Scope, text: str, kind: Kind = "text") -> Rendered:
        """A text or script with its values; it costs nothing where it reads none."""
        if "{" not in text:
            return Rendered(text, {})
        return await self._evaluate(scope, text, kind)

    async def value(self, scope: Scope, expression: str) -> Rendered:
        """The value of an expression."""
        return await self._evaluate(scope, expression, "expression")

    async def tree(self, scope: Scope, tree: Any) -> Any:
        """A tree of keys, lists and texts with the values of its texts."""
        if isinstance(tree, str):
            return (await self.text(scope, tree)).value
        if isinstance(tree, Mapping):
            return {
                key: await self.tree(scope._replace(key=f"{scope.key}.{key}"), value) for key, value in tree.items()
            }
        if isinstance(tree, (list, tuple)):
            return [await self.tree(scope, value) for value in tree]
        return tree

    async def _evaluate(self, scope: Scope, text: str, kind: Kind) -> Rendered:
        try:
            return await self._rendered(scope, text, kind)
        except TemplateFailed as error:
            if not scope.key:
                raise
            raise TemplateFailed(f"{scope.key}: {error.what}") from None

    async def _rendered(self, scope: Scope, text: str, kind: Kind) -> Rendered:
        reads = template_of(text, kind).reads
        found = await self._filled(values(scope.run, scope.step, scope.instance, reads))
        found["state"] = await self._state(reads)
        if "run" in found:
            found["run"]["started_at"] = when(found["run"]["started_at"])
        return Rendered(await self._evaluator.render(kind, text, found), read_of(found, reads))

    async def _filled(self, tree: Any) -> Any:
        """A tree of values with the content of the texts that are kept apart."""
        if isinstance(tree, BlobRef):
            return await self._content(tree)
        if isinstance(tree, Parsed):
            return Parsed(await self._filled(tree.text))
        if isinstance(tree, dict):
            return {key: await self._filled(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [await self._filled(value) for value in tree]
        return tree

    async def _content(self, text: Text) -> str:
        if isinstance(text, BlobRef) and text.size > BLOB_BYTES_MAX:
            raise TemplateFailed(f"reads a text of {text.size} bytes, more than {BLOB_BYTES_MAX}")
        try:
            return await self._context.text(text)
        except NotFound as error:
            raise TemplateFailed(error.what) from None

    async def _state(self, reads: Sequence[Read]) -> dict[str, str]:
        """The state keys that a template reads; all of them where it computes their names."""
        wanted = [read for read in reads if read.root == "state"]
        if not wanted:
            return {}
        now = await self._context.now()
        context = self._context
        if any(not read.keys for read in wanted):
            rows = await context.rows(context.views.state_list, "", now)
        else:
            names = dict.fromkeys(str(read.keys[0]) for read in wanted)
            rows = [row for name in names for row in [await context.row(context.views.state, name, now)] if row]
        return {row.key: await self._content(row.value) for row in rows}

    async def json(self, text: Text) -> Any:
        """A text as JSON, or its last fenced block. Raises TemplateFailed."""
        return await self._evaluator.parse(await self._content(text))

    async def result(self, run: Run, fact: WorkflowRunFinished) -> WorkflowRunFinished:
        """The end of a run with its result; a failure where that cannot be rendered."""
        try:
            rendered = await self.text(Scope(run, ""), run.workflow.result)
        except TemplateFailed as error:
            why = f"the result: {error.what}"
            return msgspec.structs.replace(fact, status="failed", outcome="template", why=why)
        return msgspec.structs.replace(fact, result=await self._context.keep(rendered.value, 1024))
