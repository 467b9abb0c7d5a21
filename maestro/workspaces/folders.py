"""Run folders, `<root>/<agent>/<task>/` with mode 0700: their paths, and how they are made safely.

The root may be in a shared /tmp, and the agents themselves write near it. So every folder is opened relative to the one
above it, never through a link, and must be this user's: a redirected path is never followed.

    <root>/<agent>/.maestro-runs            marks a folder of runs (for `guards` and `cleaning`)
    <root>/<agent>/<task>/prompt.txt        the prompt, byte for byte
                         /tmp/  /workspace/ /agent.log -> attempts/<N>/agent.log
                         /attempts/<N>/     agent.log, tail, stdout, errors, exit.json, verify/
                         /attempts/<N>/earlier/   the workspace as the attempt before left it, in failsafe mode
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from maestro.folders import private_folder
from maestro.model.errors import Invalid, Refused
from maestro.model.scheduling.sites import VIRTUAL

MARK = ".maestro-runs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class RunFolder(msgspec.Struct, frozen=True):
    """The paths of one attempt, absolute; nothing need exist.

    workspace: where an agent without an assigned workspace works; apart: where it does that another node began.
    log: agent.log of this attempt.
    tail: the end of its stdout.
    stdout: all of its stdout, where that is read as events, until its end is in the log.
    errors: both ends of its stderr.
    record: exit.json.
    verification: the folder with the same files for the command that verified the attempt.
    """

    root: str
    agent: str
    task: str
    attempt: int

    @property
    def path(self) -> str:
        return f"{self.root}/{self.agent}/{self.task}"

    @property
    def attempt_path(self) -> str:
        return f"{self.path}/attempts/{self.attempt}"

    @property
    def prompt_file(self) -> str:
        return f"{self.path}/prompt.txt"

    @property
    def tmp(self) -> str:
        return f"{self.path}/tmp"

    @property
    def workspace(self) -> str:
        return f"{self.path}/workspace"

    @property
    def apart(self) -> str:
        return f"{self.attempt_path}/workspace"

    @property
    def log(self) -> str:
        return f"{self.attempt_path}/agent.log"

    @property
    def tail(self) -> str:
        return f"{self.attempt_path}/tail"

    @property
    def record(self) -> str:
        return f"{self.attempt_path}/exit.json"

    @property
    def stdout(self) -> str:
        return f"{self.attempt_path}/stdout"

    @property
    def errors(self) -> str:
        return f"{self.attempt_path}/errors"

    @property
    def verification(self) -> str:
        return f"{self.attempt_path}/verify"


def place(root: str | Path, agent: str, task: str, attempt: int) -> RunFolder:
    """The paths of an attempt. Raises `Invalid` for an id that cannot be a folder's name."""
    for name in (agent, task):
        if not _NAME.fullmatch(name) and name not in VIRTUAL:
            raise Invalid(f"{name!r} cannot name a folder", mend="use letters, digits, dot, dash and underscore")
    return RunFolder(str(root), agent, task, attempt)


def recorded(attempt_path: str) -> RunFolder:
    """The paths of an attempt from its recorded path `.../attempts/<N>`. Raises `Invalid` for any other path."""
    task, _, attempt = attempt_path.rpartition("/attempts/")
    path, _, name = task.rpartition("/")
    root, _, agent = path.rpartition("/")
    if not (root and attempt.isascii() and attempt.isdigit()):
        raise Invalid(f"{attempt_path!r} is no folder of an attempt")
    return place(root, agent, name, int(attempt))


def create(folder: RunFolder, prompt: bytes) -> None:
    """Make the folder of an attempt, write the prompt and point `agent.log` at this attempt's log. Idempotent.

    Raises `Refused` for a link or another user's folder on the way, or where the disk refuses.
    """
    if not is_folder(folder.root):
        private_folder(Path(folder.root), "MAESTRO_WORKSPACE_ROOT")
    try:
        with opened(folder.root) as top, _agent_folder(top, folder) as agent:
            is_new = _make(agent, folder.task)
            with entered(agent, folder.task) as task:
                (_fill_new if is_new else _fill_existing)(task, folder, prompt)
    except OSError as error:
        raise _refusal(error, folder.path) from None


def put_aside(folder: RunFolder) -> None:
    """Move the workspace that an earlier attempt has left into the folder of this one, as `earlier`, in one step.

    Nothing where there is none. Raises `Refused` as `create`.
    """
    try:
        with opened(folder.root) as top, entered(top, folder.agent) as agent, entered(agent, folder.task) as task:
            with entered(task, "attempts") as attempts, entered(attempts, str(folder.attempt)) as attempt:
                with suppress(FileNotFoundError):
                    os.rename("workspace", "earlier", src_dir_fd=task, dst_dir_fd=attempt)
    except OSError as error:
        raise _refusal(error, folder.path) from None


def is_folder(path: str | Path) -> bool:
    """Whether a folder, and not a link to one, lies at this path; False for whatever cannot be examined."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _fill_new(task: int, folder: RunFolder, prompt: bytes) -> None:
    """Fill a run folder that was just made: nobody reads it yet, and nothing can be in the way."""
    for name in ("tmp", "attempts", f"attempts/{folder.attempt}"):
        os.mkdir(name, 0o700, dir_fd=task)
    log = f"attempts/{folder.attempt}/agent.log"
    for name, content in (("prompt.txt", prompt), (log, b"")):
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=task)
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            left = memoryview(content)
            while left:
                left = left[stream.write(left) or 0 :]
    os.symlink(log, "agent.log", dir_fd=task)


def _fill_existing(task: int, folder: RunFolder, prompt: bytes) -> None:
    """Fill a run folder of an earlier attempt, or of an interrupted `create`."""
    _write(task, "prompt.txt", prompt)
    with entered(task, "tmp"), entered(task, "attempts") as attempts:
        with entered(attempts, str(folder.attempt)) as attempt:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open("agent.log", flags, 0o600, dir_fd=attempt))
    _link(task, f"attempts/{folder.attempt}/agent.log", "agent.log")


def put_file(folder: str, path: str, content: bytes, mode: int) -> None:
    """Write the file at the relative `path` below `folder`, making the folders between, and following no link.

    Raises `Refused`, and `Invalid` for a path that leaves the folder.
    """
    *above, name = Path(path).parts
    if Path(path).is_absolute() or ".." in above or name == "..":
        raise Invalid(f"{path!r} leaves its folder", mend="use a path without `..`")
    descriptors: list[int] = []
    try:
        descriptors.append(os.open(folder, FOLDER_FLAGS))
        for part in above:
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=descriptors[-1])
            descriptors.append(os.open(part, FOLDER_FLAGS, dir_fd=descriptors[-1]))
        _write(descriptors[-1], name, content, mode)
    except OSError as error:
        raise _refusal(error, f"{folder}/{path}") from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Open a folder, which must be this user's and no link; a context. Raises `OSError`, `Refused`."""
    descriptor = os.open(path, FOLDER_FLAGS)
    try:
        _check_owner(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def entered(above: int, name: str) -> Iterator[int]:
    """Open the folder `name` below another, made 0700 if absent; a context. Raises as `opened`."""
    try:
        descriptor = os.open(name, FOLDER_FLAGS, dir_fd=above)
    except FileNotFoundError:
        _make(above, name)
        descriptor = os.open(name, FOLDER_FLAGS, dir_fd=above)
    try:
        _check_owner(descriptor, name)
        yield descriptor
    finally:
        os.close(descriptor)


def _make(above: int, name: str) -> bool:
    """Make a folder with mode 0700; False where the name exists already."""
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        return False
    return True


@contextmanager
def _agent_folder(top: int, folder: RunFolder) -> Iterator[int]:
    """Open the folder of an agent's runs and mark it as such. An unmarked folder with content is refused."""
    with entered(top, folder.agent) as agent:
        try:
            os.stat(MARK, dir_fd=agent, follow_symlinks=False)
        except FileNotFoundError:
            with os.scandir(agent) as entries:
                is_empty = next(entries, None) is None
            if not is_empty:
                mend = "move it away, or give the agent another --name"
                raise Refused(f"{folder.root}/{folder.agent} holds files that are no runs", mend=mend) from None
            os.close(os.open(MARK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=agent))
        yield agent


def _check_owner(descriptor: int, name: str) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise Refused(f"{name} is owned by another user (uid {found.st_uid})", mend="remove it, or choose another root")
    if found.st_mode & stat.S_IWOTH:
        raise Refused(f"{name} can be written by every user", mend=f"chmod o-w {name}")


def _write(above: int, name: str, content: bytes, mode: int = 0o600) -> None:
    """Write a file atomically: a reader sees the old or the new content, and a link at that name is replaced."""
    fresh = f".{name[:64]}.{secrets.token_hex(6)}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=above)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            os.fchmod(descriptor, mode)
        os.rename(fresh, name, src_dir_fd=above, dst_dir_fd=above)
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh, dir_fd=above)
        raise


def _link(above: int, target: str, name: str) -> None:
    fresh = f".{name}.{secrets.token_hex(6)}"
    os.symlink(target, fresh, dir_fd=above)
    os.rename(fresh, name, src_dir_fd=above, dst_dir_fd=above)


def _refusal(error: OSError, path: str) -> Refused:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return Refused(f"{error.filename or path} below {path} is a link or no folder", mend="remove it")
    return Refused(f"{path}: {error.strerror}", mend="make room or mend the permissions, then try again")
