"""What a program asks for: the command that is sent, and how its answer is read. For both kinds of clients."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import msgspec

from maestro.library.final_texts import one_text, texts_asked_for
from maestro.library.options import DispatchOptions, ListOptions, Path, RestoreOptions, RunOptions, SnapshotOptions
from maestro.library.rows import Agent, Event, RestorePreview, Snapshot, StateKey, Task, WorkflowHeader, WorkflowRun
from maestro.model.errors import Invalid, MaestroError
from maestro.runtime.client.answers import Answer
from maestro.runtime.node.ids import made_key
from maestro.runtime.protocol import frames, messages as p

T = TypeVar("T")
Texts = str | Sequence[str]


@dataclass(frozen=True)
class Request(Generic[T]):
    """A command, and how its answer is read."""

    command: p.Command
    read: Callable[[Answer], T]


def message_of(command: p.Command) -> bytes:
    """The message that asks for a command. Raises Invalid for a value of another type than it has."""
    try:  # what is converted is what is sent: a Decimal is a number here, and would be a text in the message
        command = msgspec.convert(msgspec.structs.asdict(command), type(command), strict=True)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        name = where.replace("`", "").replace("$.", "").removesuffix("_s")
        raise Invalid(what, name, "give a value of that type") from None
    try:
        return frames.frame(command)
    except (TypeError, OverflowError, RecursionError) as error:  # among values that may be of any type
        raise Invalid(f"it cannot be sent: {error}", mend="give values that JSON has") from None


def _data(answer: Answer) -> Any:
    return answer.data if answer.data is not None else (answer.rows[-1] if answer.rows else None)


def _rows(answer: Answer) -> Any:
    return answer.rows


def _listed(texts: Texts) -> list[str]:
    try:
        return [texts] if isinstance(texts, str) else list(texts)
    except TypeError:
        raise Invalid(f"{texts!r} is no text, and no list of texts", mend="give one of them") from None


def _mapped(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise Invalid(f"{given!r} is no mapping", name, "give names and values")
    return dict(given)


def _seconds(timeout: float | None) -> float | None:
    """How long to wait. Raises Invalid for what is no time."""
    if isinstance(timeout, (int, float)) and not timeout >= 0:
        raise Invalid(f"{timeout} is out of range", "timeout", "use seconds, 0 or more, or None")
    return timeout


def _absolute(path: Path, name: str) -> str:
    """A path as the daemon can find it. Raises Invalid for what is no path."""
    if not isinstance(path, (str, os.PathLike)) or "\0" in os.fspath(path):
        raise Invalid(f"{path!r} is no path", name, "give a path")
    return os.path.abspath(path)  # noqa: PTH100 - links stay as they are named


def _named(id: str, name: str) -> str:
    """The id of what is asked for. Raises Invalid for none, by which commands mean the newest."""
    if not isinstance(id, str):
        raise Invalid(f"{id!r} is no id", name, "give the id")
    return id


def _key(key: str | None) -> tuple[str, bool]:
    """The key of a request, and whether it was made for it. Raises Invalid for an empty one."""
    if key is None:
        return made_key(), True
    if not str(key).strip():
        raise Invalid("is empty", "key", "give a text, or leave it out")
    return key, False


def dispatch(prompt: str, to: Texts, options: DispatchOptions) -> Request[Task]:
    """Queue a task."""
    given = _options(options, DispatchOptions)
    key, first = _key(given.pop("key", None))
    depends_on = _listed(given.pop("depends_on", ()))
    timeout = given.pop("timeout", None)
    command = p.TaskDispatch(
        prompt=prompt, to=_listed(to), timeout_s=timeout, depends_on=depends_on, key=key, first=first, **given
    )
    return Request(command, _data)


def _options(given: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The options of a call. Raises Invalid for one that it does not have, as a function would raise TypeError."""
    for name in given:
        if name not in kind.__annotations__:
            raise Invalid(f"there is no option {name!r}", mend="`maestro help python` lists the options")
    return dict(given)


def task(id: str) -> Request[Task]:
    """Show a task."""
    return Request(p.TaskStatus(_named(id, "task")), _data)


def tasks(options: ListOptions) -> Request[list[Task]]:
    """List tasks, newest first."""
    return Request(p.TaskList(**_options(options, ListOptions)), _rows)


def wait(ids: Texts, timeout: float | None) -> Request[list[Task]]:
    """Wait for the end of tasks."""
    return Request(p.TaskWait(_listed(ids), _seconds(timeout)), _rows)


def wait_one(id: str, timeout: float | None) -> Request[Task]:
    """Wait for the end of a task."""
    return Request(p.TaskWait([id], _seconds(timeout), one=True), _data)


def result(id: str, agent: str | None) -> Request[str]:
    """The final text of a task's agent."""
    return Request(p.TaskStatus(_named(id, "task")), lambda answer: one_text(_data(answer), agent))


def results(id: str) -> Request[dict[str, str]]:
    """The final texts of a task's agents."""
    return Request(p.TaskStatus(_named(id, "task")), lambda answer: texts_asked_for(_data(answer), None))


def cancel(id: str, reason: str) -> Request[Task]:
    """End a task."""
    return Request(p.TaskCancel(id, reason), _data)


def agents(status: str) -> Request[list[Agent]]:
    """List agents."""
    return Request(p.AgentList(status), _rows)


def state_get(key: str) -> Request[str]:
    """The value of a key."""
    return Request(p.StateGet(key), lambda answer: cast(str, answer.data["value"]))


def state_set(key: str, value: str, ttl: str) -> Request[StateKey]:
    """Set a key."""
    return Request(p.StateSet(key, value, ttl), _data)


def state_list(prefix: str) -> Request[list[StateKey]]:
    """The keys that begin so."""
    return Request(p.StateList(prefix), _rows)


def state_delete(key: str) -> Request[None]:
    """Delete a key."""
    return Request(p.StateDelete(key), lambda _: None)


def workflow_start(name: str, options: RunOptions) -> Request[WorkflowHeader]:
    """Start a run of a workflow."""
    given = _options(options, RunOptions)
    key, first = _key(given.pop("key", None))
    params = _mapped(given.pop("params", {}), "params")
    overrides = _mapped(given.pop("agents", {}), "agents")
    command = p.WorkflowStart(
        workflow=name, file=f"{name}.yaml", vars=params, vars_file="params", overrides=overrides, key=key, first=first,
        **given,
    )  # fmt: skip
    return Request(command, _started)


def _started(answer: Answer) -> WorkflowHeader:
    """The run that was started. Raises Invalid with the first error of a definition that has some."""
    if answer.data is not None:
        return cast(WorkflowHeader, answer.data)
    errors = [row for row in answer.rows if row["level"] == "error"]
    if not errors:
        raise MaestroError("the run was not started, and no reason was told")
    first, more = errors[0], len(errors) - 1
    what = first["what"] + (f" (and {more} more error{'s' * (more > 1)})" if more else "")
    raise Invalid(what, f"{first['file']}:{first['line']}:{first['column']}", first["mend"])


def workflow_status(id: str) -> Request[WorkflowRun]:
    """Show a run with its steps."""
    return Request(p.WorkflowStatus(_named(id, "run")), _data)


def workflow_wait(id: str, timeout: float | None) -> Request[WorkflowRun]:
    """Wait for the end of a run."""
    return Request(p.WorkflowWait([id], _seconds(timeout)), _data)


def workflow_answer(id: str, step: str, approved: bool, reason: str) -> Request[WorkflowHeader]:
    """Approve a step that waits for that, or reject it."""
    return Request(p.WorkflowAnswer(id, step, approved, reason), _data)


def snapshot(workspaces: Texts, options: SnapshotOptions) -> Request[Snapshot]:
    """Take a snapshot."""
    given = _options(options, SnapshotOptions)
    if given.get("output"):
        given["output"] = _absolute(given["output"], "output")
    return Request(p.StateSnapshot(workspaces=_listed(workspaces), **given), _data)


def restore_preview(source: Path | None, options: RestoreOptions) -> Request[RestorePreview]:
    """What a restore would change."""
    given = _options(options, RestoreOptions)
    at = given.pop("at", None)
    if source is None and at is None:
        raise Invalid("neither a source nor a time", "restore_dry_run", "name a snapshot, `latest`, a file, or at=…")
    if source is not None and (not isinstance(source, str) or "/" in source or source.endswith((".gz", ".tgz"))):
        source = _absolute(source, "source")
    workspace = given.get("workspace")
    if isinstance(workspace, os.PathLike) or (isinstance(workspace, str) and "/" in workspace):
        given["workspace"] = _absolute(workspace, "workspace")
    command = p.RestorePreview(source=source, at=None if at is None else str(at), **given)
    return Request(command, _data)


def events(after: int, types: Texts, follow: bool, limit: int | None) -> Request[list[Event]]:
    """The events behind a position, in their order. Raises Invalid for a position below 0."""
    if not isinstance(after, int) or after < 0:
        raise Invalid(f"{after!r} is no position", "after", "give 0 for all, or the seq of an event")
    return Request(p.EventsTail(follow, after + 1, tuple(_listed(types)), None, limit), _rows)
