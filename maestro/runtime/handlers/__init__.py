"""Handlers: a function for each command, found by the command's struct; it reads, decides, appends and answers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from maestro.runtime.protocol import messages as p

if TYPE_CHECKING:
    from maestro.runtime.node.context import Handler

_MODULES: dict[str, tuple[type[p.Command], ...]] = {
    "agents": (p.AgentRegister, p.AgentStop, p.AgentRestart, p.AgentReset, p.AgentLogs),
    "agent_list": (p.AgentList,),
    "assignments": (p.AgentAssign,),
    "dispatch": (p.TaskDispatch,),
    "doctor": (p.Doctor,),
    "events": (p.EventsTail, p.EventsExport, p.Audit),
    "flush": (p.RedisFlush,),
    "health": (p.AgentHealth,),
    "nodes": (p.Up, p.NodeList, p.NodeDrain, p.NodeForget, p.Shutdown),
    "queues": (p.QueueStatus,),
    "run_output": (p.RunLog,),
    "replays": (p.ReplayVerify, p.ReplayRebuild, p.ReplayAt, p.ReplayDiff),
    "monitoring.alerts": (p.AlertList, p.AlertAcknowledge, p.AlertSnooze),
    "monitoring.deliveries": (p.DeliveryTake, p.DeliveryReport, p.DeliveryResend),
    "monitoring.figures": (p.MonitorFigures,),
    "monitoring.look": (p.MonitorLook,),
    "restores": (p.RestoreLoad, p.RestorePreview, p.StateRestore, p.AgentsPutBack, p.AgentMove, p.Fork),
    "schedules.listing": (p.ScheduleList,),
    "schedules.schedules": (p.ScheduleAdd, p.ScheduleRemove, p.ScheduleSwitch, p.ScheduleRun),
    "settings.changes": (p.SettingSet, p.SettingList),
    "snapshots": (p.StateSnapshot, p.StateSnapshots, p.StateVerify, p.StatePin),
    "states": (p.StateSet, p.StateGet, p.StateList, p.StateDelete),
    "task_sets.answers": (p.TaskAnswer, p.RunAsk),
    "task_sets.batch": (p.TaskBatch,),
    "task_sets.explanation": (p.TaskExplain,),
    "task_list": (p.TaskStatus, p.TaskList),
    "tasks": (p.TaskWait, p.TaskLogs, p.TaskCancel, p.TaskRetry),
    "types": (p.AgentTypes,),
    "workflow_runs.acts": (p.WorkflowStop, p.WorkflowPause, p.WorkflowResume, p.WorkflowAnswer),
    "workflow_runs.logs": (p.WorkflowLogs,),
    "workflow_runs.reading": (p.WorkflowRuns, p.WorkflowStatus),
    "workflow_runs.waiting": (p.WorkflowWait, p.WorkflowWatch),
    "workflows.definitions": (
        *(p.WorkflowCheck, p.WorkflowCreate, p.WorkflowDelete, p.WorkflowDiff),
        *(p.WorkflowGraph, p.WorkflowList, p.WorkflowShow, p.WorkflowSwitch),
    ),
    "workflows.start": (p.WorkflowStart,),
    "workspaces": (p.WorkspaceList, p.WorkspaceClean),
}
_MODULE_OF = {command: module for module, commands in _MODULES.items() for command in commands}


class Handlers(dict[type[p.Command], "Handler"]):
    """The handler of each command. A module is imported with the first command of its own that is looked up, as a
    command line carries out one only, and starts the sooner.
    """

    def __missing__(self, command: type[p.Command]) -> Handler:
        self.update(import_module(f"{__name__}.{_MODULE_OF[command]}").HANDLERS)
        return self[command]

    def load(self) -> None:
        """Import all, for a daemon: no client waits for it."""
        for command in _MODULE_OF:
            _ = self[command]


HANDLERS = Handlers()
READS = (
    *(p.AgentList, p.TaskStatus, p.TaskList, p.QueueStatus, p.TaskExplain),
    *(p.WorkflowRuns, p.WorkflowStatus, p.ScheduleList),
)
"""Commands that only read, by handlers that do without trio: they never wait but for the store."""
