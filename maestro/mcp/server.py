"""The server itself: which tools it offers, outside of runs and inside of one, and how it serves them on stdio."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import Any

from mcp_types import ToolAnnotations

from maestro import __version__
from maestro.config import Settings
from maestro.mcp.record_tools import RecordTools
from maestro.mcp.requests import Requests
from maestro.mcp.state_tools import StateTools
from maestro.mcp.task_tools import DelegatedTasks, TaskTools
from maestro.mcp.tool_server import ToolServer
from maestro.model.definition import Delegate

Tool = Callable[..., Any]

OUTSIDE = """Maestro runs AI agents over isolated workspaces, and records everything as events. Dispatch a task with
task_dispatch, wait for it with task_wait, read what its agents printed with task_logs. Errors say what to do. Approving
steps of workflows, and restoring, are for people: no tool does that."""
INSIDE = """You work inside a run of Maestro. The state is shared with all other agents; set what they should know."""
READS = frozenset(
    {
        *("agent_list", "task_list", "task_status", "task_wait", "task_logs", "state_get", "state_list"),
        *("workflow_list", "workflow_status", "restore_preview", "events_since"),
    }
)
ENDS = frozenset({"task_cancel", "state_delete"})
"""The tools after which something is not there any more."""


def build(settings: Settings, inside: bool = False, delegate: Delegate | None = None) -> ToolServer:
    """The server with its tools. inside: for a process of a run, whose type's right to delegate is `delegate`."""
    requests = Requests(settings)
    server = ToolServer("maestro", version=__version__, instructions=INSIDE if inside else OUTSIDE, log_level="ERROR")
    state = StateTools(requests)
    tools: list[Tool] = [state.state_get, state.state_set, state.state_list, state.state_delete]
    if not inside:
        tools = [*_of_tasks(TaskTools(requests)), *tools, *_of_record(RecordTools(requests))]
    elif delegate is not None:
        own = DelegatedTasks(requests)
        tools += [own.task_status, own.task_wait]
        server.add_tool(own.delegate, "task_dispatch", description=_told(delegate), annotations=_hints("task_dispatch"))
        requests.tools.add("task_dispatch")
    _add(server, tools)
    requests.tools.update(tool.__name__ for tool in tools)
    return server


def _of_tasks(tasks: TaskTools) -> list[Tool]:
    queue: tuple[Tool, ...] = (
        tasks.task_dispatch,
        tasks.task_status,
        tasks.task_wait,
        tasks.task_cancel,
        tasks.task_list,
    )
    return [tasks.agent_list, *queue, tasks.task_logs]


def _of_record(record: RecordTools) -> list[Tool]:
    workflows: tuple[Tool, ...] = (record.workflow_list, record.workflow_run, record.workflow_status)
    return [*workflows, record.snapshot_take, record.restore_preview, record.events_since]


def _add(server: ToolServer, tools: Iterable[Tool]) -> None:
    for tool in tools:
        server.add_tool(tool, annotations=_hints(tool.__name__))


def _hints(name: str) -> ToolAnnotations:
    return ToolAnnotations(read_only_hint=name in READS, destructive_hint=name in ENDS, open_world_hint=False)


def _told(delegate: Delegate) -> str:
    """The description of the dispatch that a run has."""
    whom = ", ".join(delegate.to)
    return (
        f"Queue a task for another agent, and return at once; task_wait waits for its end. To: {whom}. This run may"
        f" dispatch {delegate.max} tasks in all. The agent works in its own workspace; its final text is the result."
    )


def serve(settings: Settings, inside: bool, delegate: Delegate | None) -> None:
    """Serve on stdin and stdout until stdin ends. Signals end it at once: all that was asked for is the daemon's."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    build(settings, inside, delegate).run("stdio")
