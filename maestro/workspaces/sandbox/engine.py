"""Composes the docker command lines of an isolated run: the same `Box` as for bubblewrap, in a user's image. Pure.

The image provides the system; the agent's own installation is bind-mounted into it. Without `network`, the run is in a
network `maestro-<hash of the workspace>` without access to the outside. Values of variables never stand on the command
line: docker takes them by name from its own environment, which is the run's. The container is named after the run, so
that it can be removed by name: signals to the docker client do not reach what the engine runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import NamedTuple

from maestro.workspaces.sandbox.isolation import Box


class Container(NamedTuple):
    """What docker needs besides the box.

    user: `uid:gid`.
    memory: in bytes; cpu: in cores; pids: number of processes; None for no limit.
    stop_signal: without SIG, as `TERM`.
    """

    run: str
    home: str
    workspace: str
    image: str
    user: str
    memory: int | None = None
    cpu: float | None = None
    pids: int | None = None
    stop_signal: str = "TERM"
    grace_s: float = 10.0


def network_of(workspace: str) -> str:
    """The name of the network that the runs of a workspace share."""
    return f"maestro-{hashlib.sha256(os.fsencode(workspace)).hexdigest()[:12]}"


def name_of(container: Container) -> str:
    """The name of a run's container, unique to this MAESTRO_HOME."""
    installation = hashlib.sha256(os.fsencode(container.home)).hexdigest()[:8]
    return f"maestro-{installation}-{container.run}"


def network_command(workspace: str, program: str = "docker") -> list[str]:
    """The command that makes the network of a workspace; it fails harmlessly where the network exists."""
    return [program, "network", "create", "--internal", "--label", "maestro=network", network_of(workspace)]


def run_command(
    container: Container, box: Box, argv: tuple[str, ...], cwd: str, names: Iterable[str], program: str = "docker"
) -> list[str]:
    """The command that runs `argv` in a container to its end. names: of the environment variables to pass on."""
    line = [program, "run", "--rm", "--init", "--interactive", "--name", name_of(container), "--user", container.user]
    line += ["--label", f"maestro.home={container.home}", "--label", f"maestro.run={container.run}"]
    line += ["--network", "bridge" if box.network else network_of(container.workspace)]
    line += ["--read-only", "--tmpfs", "/tmp:rw,exec,nosuid", "--cap-drop", "ALL"]
    if not box.nested:
        line += ["--security-opt", "no-new-privileges"]
    line += _limits(container)
    line += ["--stop-signal", f"SIG{container.stop_signal}", "--stop-timeout", str(max(1, int(container.grace_s)))]
    for path in sorted(set(box.read)):
        line += ["--mount", _mount(path, path, read_only=True)]
    for path in (*sorted(set(box.write)), *box.sockets):
        line += ["--mount", _mount(path, path)]
    for outside, inside in box.bound:
        line += ["--mount", _mount(outside, inside, read_only=True)]
    for name in sorted(names):
        line += ["--env", name]
    return [*line, "--workdir", cwd, "--entrypoint", argv[0], container.image, *argv[1:]]


def name_commands(container: Container, program: str = "docker") -> tuple[list[str], list[str], list[str]]:
    """The commands that pause, unpause and remove a container by name, whatever has become of the docker client."""
    name = name_of(container)
    return [program, "pause", name], [program, "unpause", name], [program, "rm", "--force", "--volumes", name]


def _limits(container: Container) -> list[str]:
    line = []
    if container.memory is not None:
        line += ["--memory", str(container.memory), "--memory-swap", str(container.memory)]
    if container.cpu is not None:
        line += ["--cpus", f"{container.cpu:g}"]
    if container.pids is not None:
        line += ["--pids-limit", str(container.pids)]
    return line


def _mount(outside: str, inside: str, read_only: bool = False) -> str:
    """One `--mount` value: comma-separated fields, in quotes where a path has a comma or a quote."""
    fields = ["type=bind", f"source={outside}", f"target={inside}"]
    quoted = ['"' + field.replace('"', '""') + '"' if set(field) & set(',"') else field for field in fields]
    return ",".join([*quoted, "readonly"] if read_only else quoted)
