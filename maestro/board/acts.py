"""The route of acts: what a person has the daemon do, with `--allow-actions` only, as the commands of that name do it.

A restore and a fork are done in two steps: the first says what would be done, and gives a token for the second.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from maestro.board.answers import BODY_BYTES_MAX, board_of, json
from maestro.board.board import Board
from maestro.board.refusal import Unfit
from maestro.config import Settings
from maestro.model.errors import Invalid, MaestroError
from maestro.runtime.client import client
from maestro.runtime.client.answers import error_of
from maestro.runtime.protocol import messages as p

AT_ONCE: Final = trio.CapacityLimiter(8)
"""Acts at once; a restore may take long, and the other threads of the board are for looking."""


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of an act, by name; any other name is an error."""


class _Decide(_Arguments, frozen=True, kw_only=True):
    run: str
    step: str
    reason: str = ""


class _Answer(_Arguments, frozen=True, kw_only=True):
    task: str
    answer: str
    number: int | None = None
    reason: str = ""


class _Retry(_Arguments, frozen=True, kw_only=True):
    task: str
    resume: bool = False
    with_dependants: bool = False


class _Cancel(_Arguments, frozen=True, kw_only=True):
    task: str = ""
    workflow_run: str = ""
    reason: str = ""


class _Restore(_Arguments, frozen=True, kw_only=True):
    at: int | str | None = None
    source: str | None = None
    workspace: str | None = None
    skip_failed: bool = False
    resume_queued: bool = False


class _Fork(_Arguments, frozen=True, kw_only=True):
    into: str
    root: str
    at: int | str | None = None


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    action: str
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
    confirm: str | None = None


class Act(NamedTuple):
    """An act: the type of its arguments, its command, and the one that says what that would do, None for none."""

    arguments: type[_Arguments]
    command: Callable[[Any], p.Command]
    dry_run: Callable[[Any], p.Command] | None = None


def _cancel(given: _Cancel) -> p.Command:
    if bool(given.task) == bool(given.workflow_run):
        raise Invalid("one of `task` and `workflow_run` says what is cancelled", "arguments", "give one of them")
    if given.task:
        return p.TaskCancel(given.task, given.reason)
    return p.WorkflowStop(given.workflow_run, reason=given.reason)


def _restore(given: _Restore) -> p.Command:
    source, at = _restored(given)
    return p.StateRestore(source, at, given.workspace, skip_failed=given.skip_failed, resume_queued=given.resume_queued)


def _preview(given: _Restore) -> p.Command:
    source, at = _restored(given)
    return p.RestorePreview(source, at, given.workspace, skip_failed=given.skip_failed)


def _restored(given: _Restore) -> tuple[str | None, str | None]:
    if (given.at is None) == (given.source is None):
        raise Invalid("one of `at` and `source` says to what is restored", "arguments", "give one of them")
    return given.source, None if given.at is None else str(given.at)


def _fork(given: _Fork, dry_run: bool = False) -> p.Command:
    try:
        root = Path(given.root).expanduser()
    except RuntimeError as error:
        raise Invalid(f"{given.root!r}: {error}", "root", "give an absolute path") from None
    if not root.is_absolute() or "\0" in given.root or ".." in root.parts:
        raise Invalid(f"{given.root!r} is no absolute path", "root", "begin it with / or ~/, without `..`")
    return p.Fork(given.into, str(root), None if given.at is None else str(given.at), dry_run)


ACTS: Final = {
    "approve": Act(_Decide, lambda given: p.WorkflowAnswer(given.run, given.step, True, given.reason)),
    "reject": Act(_Decide, lambda given: p.WorkflowAnswer(given.run, given.step, False, given.reason)),
    "answer": Act(_Answer, lambda given: p.TaskAnswer(given.task, given.answer, given.number, given.reason)),
    "retry": Act(_Retry, lambda given: p.TaskRetry(given.task, given.resume, given.with_dependants)),
    "cancel": Act(_Cancel, _cancel),
    "restore": Act(_Restore, _restore, _preview),
    "fork": Act(_Fork, _fork, lambda given: _fork(given, dry_run=True)),
}


async def do(request: Request) -> Response:
    """Carry out an act; of one that is shown first, say what it would do."""
    board = board_of(request)
    if not board.actions:
        raise Unfit(403, "no_actions", "this board only shows", "start it with `maestro board --allow-actions`")
    asked = await _asked(request)
    act = ACTS.get(asked.action)
    if act is None:
        raise Invalid(f"there is no act {asked.action[:40]!r}", "action", f"use one of {', '.join(ACTS)}")
    try:
        given = msgspec.convert(asked.arguments, act.arguments, strict=True)
    except msgspec.ValidationError as error:
        raise Invalid(str(error), "arguments", "see `maestro help board`") from None
    command = act.command(given)
    if act.dry_run is None:
        return json(await _carried_out(board, command))
    looked = act.dry_run(given)
    if asked.confirm is None:
        shown = await _carried_out(board, looked)
        token = board.confirmations.show(asked.action, asked.arguments, shown["data"])
        return json({"dry_run": shown["data"], "confirm": token, "notes": shown["notes"]})
    board.confirmations.known(asked.confirm, asked.action, asked.arguments)
    shown = await _carried_out(board, looked)
    board.confirmations.take(asked.confirm, shown["data"])
    return json(await _carried_out(board, command))


async def _asked(request: Request) -> _Asked:
    """The body of a request. Raises Invalid for what is no act."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES_MAX:
            raise Unfit(413, "too_large", f"an act has at most {BODY_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(data, type=_Asked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"the body is no act: {error}", "body", "send {action, arguments}") from None


async def _carried_out(board: Board, command: p.Command) -> dict[str, Any]:
    """What came of a command: {ok, data, exit_code, notes}. Raises what it fails with."""
    return await trio.to_thread.run_sync(execute, command, board.settings, abandon_on_cancel=True, limiter=AT_ONCE)


def execute(command: p.Command, settings: Settings) -> dict[str, Any]:
    """Have a command carried out as the command line has it. Blocks. Raises what it fails with."""
    notes: list[str] = []
    rows: list[Any] = []

    def show(told: p.Note | p.Item | p.Output) -> None:
        if isinstance(told, p.Item):
            rows.append(told.data)
        elif isinstance(told, p.Note) and told.level != "progress":
            notes.append(told.text)

    end = client.execute(command, settings, show)
    if isinstance(end, p.Failed):
        raise error_of(end)
    if end.data is None and not rows:
        raise MaestroError("the command ended without an answer")
    data = end.data if end.data is not None else rows[-1]
    return {"ok": end.exit_code == 0, "data": data, "exit_code": end.exit_code, "notes": notes}


ROUTES: list[Route] = [Route("/api/do", do, methods=["POST"])]
