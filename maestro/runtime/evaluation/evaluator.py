"""Evaluates templates, answers and schemas off the loop, in a process of its own, bounded in time, memory, size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import trio

from maestro.model.workflow.template import Kind as TemplateKind, TemplateFailed
from maestro.runtime.evaluation.evaluation_process import FRAME_MAX, NOTHING, PARSED, Answer, Kind, Request

TIME_S = 2.0
START_S = 30.0
"""How long the first answer of a process may take: it has to be started, on a machine that may be busy."""


_WARMING = (Request("text", "", {}), Request("schema", "{}", {"schema": {}}))
"""What a new process is asked first, so that it has loaded what it needs before its time is taken."""


class Evaluator:
    """Evaluates one thing at a time. Its process is started when it is needed, and anew after it took too long.

    Among the values of a template, a struct with nothing but a `text` stands for what that text holds as JSON; without
    one for what is empty whatever is read of it.
    """

    def __init__(self, time_s: float = TIME_S) -> None:
        self._time_s = time_s
        self._lock = trio.Lock()
        self._process: trio.Process | None = None

    async def render(self, kind: TemplateKind, text: str, values: Mapping[str, Any]) -> Any:
        """The text of a template, or the value of an expression. Raises TemplateFailed."""
        return await self._evaluate(kind, text, values)

    async def parse(self, text: str) -> Any:
        """What an answer holds as JSON: the whole text, else its last fenced block. Raises TemplateFailed."""
        return await self._evaluate("json", text, {})

    async def misfit(self, text: str, schema: Mapping[str, Any]) -> str:
        """Why an answer does not fit a JSON Schema, and where; "" where it does."""
        try:
            return str(await self._evaluate("schema", text, {"schema": schema}))
        except TemplateFailed as error:
            return f"it could not be checked: it {error.what}"

    async def _evaluate(self, kind: Kind, text: str, values: Mapping[str, Any]) -> Any:
        try:
            request = msgspec.msgpack.encode(Request(kind, text, _marked(dict(values))))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise TemplateFailed(f"reads no plain value: {error}") from None
        if len(request) > FRAME_MAX:
            raise TemplateFailed(f"reads more than {FRAME_MAX >> 20} MiB")
        async with self._lock:
            try:
                answer = await self._ask(request)
            except BaseException:
                await self._end()
                raise
        if answer.failed:
            raise TemplateFailed(answer.failed)
        return answer.value

    async def _ask(self, request: bytes) -> Answer:
        if self._process is None or self._process.poll() is not None:
            self._process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "maestro.runtime.evaluation.evaluation_process"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"LANG": "C.UTF-8"},
            )  # fmt: skip
            with trio.fail_after(START_S):
                for first in _WARMING:
                    await self._exchange(msgspec.msgpack.encode(first))
        with trio.move_on_after(self._time_s):
            return await self._exchange(request)
        await self._end()
        return Answer(failed=f"takes longer than {self._time_s:g} s")

    async def _exchange(self, request: bytes) -> Answer:
        """One request and its answer; a process that ends instead has run out of memory."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        received = bytearray()
        with suppress(trio.BrokenResourceError):
            await process.stdin.send_all(len(request).to_bytes(4, "big") + request)
            while len(received) < 4 or len(received) < 4 + int.from_bytes(received[:4], "big"):
                some = await process.stdout.receive_some(1 << 16)
                if not some:
                    break
                received += some
            else:
                return msgspec.msgpack.decode(received[4:], type=Answer)
        await self._end()
        return Answer(failed="takes too much memory")

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()

    async def __aenter__(self) -> Evaluator:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the process, also where this is cancelled."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                await self._end()


def _marked(tree: Any) -> Any:
    """A tree of values in which each text that stands for its JSON is marked as such."""
    if isinstance(tree, msgspec.Struct) and tree.__struct_fields__ == ("text",):
        text = getattr(tree, "text", "")
        if text is None:
            return msgspec.msgpack.Ext(NOTHING, b"")
        return msgspec.msgpack.Ext(PARSED, text.encode("utf-8", "replace"))
    if isinstance(tree, Mapping):
        return {key: _marked(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_marked(value) for value in tree]
    return tree
