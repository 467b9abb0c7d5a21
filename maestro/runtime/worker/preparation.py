"""The preparation of a run: makes its folder, prompt and workspace, and the spec that its warden gets."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from maestro.agents import registration, secrets
from maestro.agents.definitions import Definition
from maestro.agents.launch import Launch, Target, compose, delivered
from maestro.config import Settings
from maestro.model.agent import Agent
from maestro.model.errors import Invalid
from maestro.model.events import RunReleased, RunStarted, TaskDispatched
from maestro.model.ids import shown, slot_of_run, task_of_run
from maestro.model.monitoring.failsafe import goes_back
from maestro.model.task import Run, Task
from maestro.model.tracing.identity import traceparent
from maestro.runtime.provision import containment
from maestro.runtime.provision.settlement import Settlement
from maestro.runtime.supervision.spec import Spec
from maestro.runtime.supervision.workspace_lock import SUFFIX
from maestro.runtime.worker.run_observer import RunObserver, is_heard
from maestro.runtime.worker.run_services import RunServices
from maestro.runtime.worker.step_definitions import prompt_of
from maestro.workspaces import deletion, folders, templates, workflow_folders
from maestro.workspaces.folders import RunFolder


class Job(NamedTuple):
    """What a run is about, as the plan had it when its execution began.

    folder: of its files. definition: how to run its agent. observer: reads its transcript. session: the session of the
    agent's own that it continues, "" for none. workspace: where it works; owner: the agent whose workspace that is,
    None for nobody's. dispatched: how its task was dispatched, where that is a step of a workflow. furnished: whether
    its folder is there already.
    """

    task: Task
    run: Run
    agent: Agent
    folder: RunFolder
    definition: Definition
    observer: RunObserver
    session: str
    workspace: str
    owner: Agent | None
    dispatched: TaskDispatched | None
    furnished: bool

    @property
    def in_run_folder(self) -> bool:
        """Whether it works in the folder of a workflow's run."""
        return bool(self.task.folder) and self.workspace == f"{self.task.folder}/workspace"


def place(settings: Settings, agent: Agent, task: str, attempt: int) -> RunFolder:
    """The folder of an attempt's files on this node. Raises Invalid where the ids name no folder."""
    root = agent.workspace_root or str(settings.workspace_root)
    return folders.place(root, agent.id, task, attempt)


def workplace(folder: RunFolder, node: str, task: Task | None, run: str) -> str:
    """Where a run of an agent without a workspace works on this node: in the folder of its task.

    Where an earlier attempt was on another node it is one of its own: that node may see the same folder, and be only
    silent, while its agent still writes there.
    """
    tries = [] if task is None else task.slots[slot_of_run(run)].runs
    return folder.apart if any(one.node not in (None, "", node) for one in tries) else folder.workspace


def start_of(
    node: str, run: Run | RunReleased, task: str, folder: RunFolder, workspace: str, ready_at: int
) -> RunStarted:
    """The event that says that this node executes a run. ready_at: since when it waited in the queue, server ms."""
    name = run.run if isinstance(run, RunReleased) else run.id
    return RunStarted(name, task, run.agent, node, folder.attempt_path, workspace, ready_at)


def lock_path(home: Path, workspace: str) -> Path:
    """The lock file of a workspace, the same for all its names: whoever has its flock may write there."""
    real = os.path.realpath(workspace)
    return home / "locks" / f"{hashlib.sha256(real.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}{SUFFIX}"


def verification_of(folder: RunFolder) -> list[str]:
    """The command that verifies a run, as `Prepared` wrote it down; [] where there is none."""
    try:
        return msgspec.json.decode(Path(folder.verification, "command.json").read_bytes(), type=list[str])
    except (OSError, msgspec.DecodeError):
        return []


def _argument(prompt: bytes, definition: Definition) -> str:
    """As much of the prompt as `compose` must see to know whether the prompt can be an argument."""
    return prompt[: definition.prompt.max_bytes + 1].decode("utf-8", "replace")


def _user_home() -> str:
    return os.path.realpath(os.environ.get("HOME") or Path("~").expanduser())


class Prepared:
    """The preparation of one run: `spec` puts all in place that its start needs.

    dispatched: how its task was dispatched, with the prompt. socket: the path of the run's socket. verification: after
    `spec`, the spec of the command that must succeed after a good end, None where there is none.
    """

    def __init__(self, services: RunServices, job: Job, dispatched: TaskDispatched, socket: str) -> None:
        self._context = services.context
        self._furnishing = services.furnishing
        self._failsafe = services.failsafe
        self._job = job
        self._run = job.run
        self._folder = job.folder
        self._dispatched = dispatched
        self._session = job.session or (dispatched.session if job.definition.resume is not None else "")
        self._is_furnished = job.furnished
        self._socket = socket
        self.definition = job.definition
        self.verification: Spec | None = None

    async def wrong_mode(self) -> str:
        """Why the program must not be started: it does not have the mode (any more) that is asked for; or ""."""
        if "{mode}" not in self.definition.argv:
            return ""
        return await trio.to_thread.run_sync(registration.wrong_mode, self.definition, self._context.environment)

    async def spec(self) -> Spec:
        """Make folder, prompt, workspace and files; the spec to launch.

        Raises as `compose`, `folders.create`, `templates.fill`.
        """
        data = await self._context.insist(lambda: self._context.content(self._dispatched.prompt))
        data = prompt_of(self._run.agent, self._dispatched, data)
        folder, job, workspace = self._folder, self._job, self._job.workspace
        if not self._is_furnished:
            folders.create(folder, delivered(self.definition, data))
        deletion.check_whole(self._context.settings.home, workspace)
        if job.owner is not None:
            await Settlement(self._context).settle(job.owner)
        if job.in_run_folder:
            await self._fill_run_folder(workspace)
        elif job.owner is None or job.owner.id == job.agent.id:
            if self._begins_afresh():
                folders.put_aside(folder)
            await self._fill(workspace)
        if self.definition.private_home:
            home = containment.home_of(self._context.settings.home, self._run.agent)
            await trio.to_thread.run_sync(containment.furnish, self.definition, home, _user_home())
        launch = compose(self.definition, self._target(_argument(data, self.definition), workspace))
        self._place_files(launch, workspace)
        if launch.verify:
            self.verification = self._verification(launch, workspace)
        return self._spec(launch, workspace)

    def _place_files(self, launch: Launch, workspace: str) -> None:
        """Make the files that the type asks for. Only the user's own home may be, or be behind, a link."""
        home = launch.env.get("HOME", "/")
        for file in launch.files:
            base = next(b for b in (workspace, self._folder.tmp, home) if file.path.startswith(b.rstrip("/") + "/"))
            inside = file.path[len(base) :].lstrip("/")
            real = os.path.realpath(base) if base == home else base
            folders.put_file(real, inside, file.content.encode(), file.mode)

    def _begins_afresh(self) -> bool:
        """Whether failsafe mode has this attempt find what the first one found: a workspace that is only its task's."""
        job, run = self._job, self._run
        if job.workspace != job.folder.workspace or not self._failsafe.wants(job.agent):
            return False
        earlier = [one for one in job.task.slots[slot_of_run(run.id)].runs if one.attempt < run.attempt]
        return bool(earlier) and goes_back(earlier[-1].outcome, earlier[-1].restart)

    async def _fill(self, workspace: str) -> None:
        """Make the workspace where it is absent or empty; a template is copied in a thread."""
        template = self.definition.workspace_template
        if template:
            await trio.to_thread.run_sync(templates.fill, workspace, template)
        else:
            templates.fill(workspace)

    async def _fill_run_folder(self, workspace: str) -> None:
        """Make the workspace of a workflow's run, as the first step that is here needs it; once, whatever is in it."""
        async with self._furnishing:
            if folders.is_folder(workspace):
                return
            workflow_folders.make(self._job.task.folder)
            await self._fill(workspace)

    def _variables(self) -> dict[str, str]:
        """The further variables of the task. Raises Invalid for one that no process can have."""
        variables = dict(self._dispatched.env)
        for name, value in variables.items():
            if not name or "=" in name or "\0" in name or "\0" in value:
                raise Invalid(f"the variable {shown(name)} cannot be set", "env", "use a plain name, and no NUL in it")
        return variables

    def _target(self, prompt: str, workspace: str) -> Target:
        environment = self._context.environment
        run, step = self._run, self._dispatched
        marks = {"MAESTRO_WORKFLOW_RUN": step.workflow, "MAESTRO_STEP": step.step} if step.workflow else {}
        return Target(
            run=run.id,
            task=task_of_run(run.id),
            agent=run.agent,
            token=str(run.token),
            prompt=prompt,
            prompt_file=self._folder.prompt_file,
            workspace=workspace,
            tmp=self._folder.tmp,
            socket=self._socket,
            home=containment.home_of(self._context.settings.home, run.agent),
            session=self._session,
            verify=self._dispatched.verify,
            environment=environment,
            secrets=secrets.resolve(self.definition, environment),
            variables=self._variables(),
            marks=marks,
            traceparent=traceparent(self._context.settings.namespace, step, run.id, run.token),
        )

    def _spec(self, launch: Launch, workspace: str) -> Spec:
        """The spec of the agent, with `maestro` last on its PATH, so that it can use `state`."""
        home = self._context.settings.home
        run, job = self._run, self._job
        is_step = bool(self._dispatched.workflow)
        spec = Spec(
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
            lock=str(lock_path(home, self._locked(workspace))),
            folder=None if job.owner is None else workspace,
            timeout_s=run.timeout_s,
            grace_s=launch.grace_s,
            stop_signal=int(signal.Signals[f"SIG{launch.stop_signal}"]),
            trace=(self._dispatched.step or task_of_run(run.id)) if self._dispatched.trace else None,
            redact=list(launch.redact),
            stdout=self._folder.stdout if is_step or is_heard(self.definition) else None,
            errors=self._folder.errors,
            silent_s=self.definition.limits.silent_s,
            marks=[f"{self._folder.root}/{self._folder.agent}/{folders.MARK}"],
        )
        target = containment.Place(
            agent=run.agent,
            workspace=workspace,
            home=launch.env.get("HOME", "/"),
            tmp=self._folder.tmp,
            prompt_file=self._folder.prompt_file,
            socket=launch.env["MAESTRO_RUN_SOCKET"],
        )
        return containment.contain(spec, self.definition, target, _user_home())

    def _locked(self, workspace: str) -> str:
        """What the run locks: its workspace; where it bears others there, what is its own."""
        shares = self._job.in_run_folder and not self._dispatched.alone
        return self._folder.attempt_path if shares else workspace

    def _verification(self, launch: Launch, workspace: str) -> Spec:
        """The spec of what verifies the run: with the run's place, environment and limits, but with own files."""
        command = msgspec.structs.replace(launch, argv=launch.verify, stdin=None, cwd=workspace)
        folder = self._folder.verification
        words = msgspec.json.encode(launch.verify)
        folders.put_file(self._folder.attempt_path, "verify/command.json", words, 0o600)
        return self._spec(command, workspace)._replace(
            record=f"{folder}/exit.json",
            tail=f"{folder}/tail",
            errors=f"{folder}/errors",
            stdout=None,
            silent_s=None,
            timeout_s=self.definition.limits.verify_s,
        )
