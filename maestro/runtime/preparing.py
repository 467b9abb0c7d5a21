"""From a released run to the spec that its warden gets: folder, prompt, workspace, environment, lock."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import trio

from maestro.agents import secrets
from maestro.agents.definitions import Definition
from maestro.agents.launch import Launch, Target, compose
from maestro.config import Settings
from maestro.model.agent import Agent
from maestro.model.events import TaskDispatched
from maestro.model.task import Run
from maestro.runtime.context import Context
from maestro.runtime.sockets import run_socket_path
from maestro.runtime.spec import Spec
from maestro.workspaces import folders, guards, templates
from maestro.workspaces.folders import RunFolder


def place(settings: Settings, agent: Agent, task: str, run: Run) -> RunFolder:
    """Where the attempt's files lie on this node."""
    root = agent.workspace_root or str(settings.workspace_root)
    return folders.place(root, agent.id, task, run.attempt)


def workspace_of(agent: Agent, folder: RunFolder) -> str:
    """Where the run works: the assigned workspace, else one in the run's folder."""
    return agent.workspace or folder.workspace


def lock_path(home: Path, workspace: str) -> Path:
    """The file whose flock is the right to write a workspace, whatever name it goes by."""
    real = os.path.realpath(workspace)
    return home / "locks" / f"{hashlib.sha256(real.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.lock"


def _argument(prompt: bytes, definition: Definition) -> str:
    """As much of the prompt as `compose` must see to know whether it can be an argument."""
    return prompt[: definition.prompt.max_bytes + 1].decode("utf-8", "replace")


class Prepared:
    """A run with everything in place for its start. Raises as `compose`, `folders.create`, `templates.fill`."""

    def __init__(self, context: Context, agent: Agent, run: Run, folder: RunFolder, dispatched: TaskDispatched) -> None:
        self._context = context
        self._agent = agent
        self._run = run
        self._folder = folder
        self._dispatched = dispatched
        self.definition = Definition.from_dict(agent.definition)

    async def spec(self) -> Spec:
        """Put folder, prompt, workspace and files there; the spec to launch."""
        data = await self._context.insist(lambda: self._context.content(self._dispatched.prompt))
        folder, workspace = self._folder, workspace_of(self._agent, self._folder)
        folders.create(folder, data)
        await self._fill(workspace)
        if self._agent.workspace is not None:
            guards.check_unchanged(workspace)
        launch = compose(self.definition, self._target(_argument(data, self.definition), workspace))
        for file in launch.files:
            base = next(b for b in (workspace, folder.tmp, "/") if file.path.startswith(b.rstrip("/") + "/"))
            folders.put_file(base, file.path[len(base) :].lstrip("/"), file.content.encode(), file.mode)
        return self._spec(launch, workspace)

    async def _fill(self, workspace: str) -> None:
        """Make the workspace where it is absent or empty; a template is copied in a thread."""
        template = self.definition.workspace_template
        if template:
            await trio.to_thread.run_sync(templates.fill, workspace, template)
        else:
            templates.fill(workspace)

    def _target(self, prompt: str, workspace: str) -> Target:
        environment = dict(os.environ)
        run = self._run
        return Target(
            run=run.id,
            task=run.id.rpartition("-")[0],
            agent=run.agent,
            token=str(run.token),
            prompt=prompt,
            prompt_file=self._folder.prompt_file,
            workspace=workspace,
            tmp=self._folder.tmp,
            socket=str(run_socket_path(self._context.settings.home, run.id)),
            environment=environment,
            secrets=secrets.resolve(self.definition, environment),
        )

    def _spec(self, launch: Launch, workspace: str) -> Spec:
        """The agent finds `maestro` on its PATH, last, so that it can use `state`."""
        home = self._context.settings.home
        run = self._run
        return Spec(
            run=run.id,
            argv=list(launch.argv),
            env={**launch.env, "PATH": f"{launch.env.get('PATH', os.defpath)}:{Path(sys.executable).parent}"},
            cwd=launch.cwd,
            log=self._folder.log,
            record=self._folder.record,
            home=str(home),
            token=run.token,
            stdin=launch.stdin,
            tail=self._folder.tail,
            lock=str(lock_path(home, workspace)),
            timeout_s=run.timeout_s,
            grace_s=launch.grace_s,
            stop_signal=int(signal.Signals[f"SIG{launch.stop_signal}"]),
            trace=run.id.rpartition("-")[0] if self._dispatched.trace else None,
            redact=list(launch.redact),
        )
