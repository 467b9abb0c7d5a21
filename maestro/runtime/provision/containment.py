"""Containment of a run: checks what its type asks for against what this machine has, and makes the command line.

Where a tool is missing the type is refused, at its registration and again when a run of it is prepared, which may be on
another machine: nothing ever runs less isolated than asked.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import maestro
import projections
import replayers
from maestro.agents.schema import Definition
from maestro.model.errors import Refused
from maestro.runtime.supervision import cgroup_root
from maestro.runtime.supervision.spec import Spec
from maestro.workspaces import folders
from maestro.workspaces.sandbox import engine, isolation, reach
from maestro.workspaces.sandbox.isolation import Box

ANSWER_S = 10.0
_SEALS_FROM = (0, 8)
_LIMITED = ("memory", "cpu", "pids")
_BWRAP_FAILS = "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, AppArmor), or run as root"


class Tool(NamedTuple):
    """A program that isolates. fault: why it does not work here, "" where it does; mend: what would help."""

    path: str
    version: tuple[int, ...] = ()
    fault: str = ""
    mend: str = ""


class Place(NamedTuple):
    """The absolute paths of a run: its workspace, the agent's own HOME, its temporary folder, prompt and socket."""

    agent: str
    workspace: str
    home: str
    tmp: str
    prompt_file: str
    socket: str


def check(definition: Definition) -> None:
    """Check that this machine can contain a run as its type asks. Blocks while tools are tried. Raises Refused."""
    _tool(definition)
    if definition.isolate_with == "docker":
        return  # the container engine enforces the limits
    asked = {name for name in _LIMITED if getattr(definition.resource_limits, name) is not None}
    if asked and (missing := asked - cgroup_root.enforceable()):
        names = ", ".join(sorted(missing))
        raise Refused(f"resource_limits ({names}) cannot be enforced here", definition.source, cgroup_root.REMEDY)


def home_of(home: Path, agent: str) -> str:
    """The HOME of an agent that has its own. Below MAESTRO_HOME, so never in a workspace nor in its snapshots."""
    return str(home / "agents" / agent / "home")


def furnish(definition: Definition, home: str, user_home: str) -> None:
    """Make the agent's HOME, with the credential files that its adapter names: copied, or a place to bind them to."""
    Path(home).mkdir(parents=True, exist_ok=True, mode=0o700)
    for source, inside in _credentials(definition, home, user_home):
        if isolation.covers(home, inside):
            content = b"" if definition.isolate_with != "none" else Path(source).read_bytes()
            folders.put_file(home, os.path.relpath(inside, home), content, 0o400)


def contain(spec: Spec, definition: Definition, place: Place, user_home: str) -> Spec:
    """The spec of a run, contained as its type asks. Raises Refused as `check`; writes nothing."""
    limits = definition.resource_limits
    held = {name: getattr(limits, name) for name in _LIMITED if getattr(limits, name) is not None}
    if definition.isolate_with == "none":
        return spec._replace(limits=held or None)
    tool = _tool(definition)
    box = _box(spec, definition, place, user_home)
    argv = tuple(spec.argv)
    if definition.isolate_with == "bubblewrap":
        if "pids" in held:
            held["pids"] += isolation.OVERHEAD_PIDS
        line = isolation.bubblewrap(box, argv, spec.cwd, tool.path, can_seal=tool.version >= _SEALS_FROM)
        return spec._replace(argv=line, cwd="/", limits=held or None, wrapped=True)
    container = engine.Container(
        run=spec.run,
        home=spec.home,
        workspace=place.workspace,
        image=definition.image,
        user=f"{os.getuid()}:{os.getgid()}",
        memory=limits.memory,
        cpu=limits.cpu,
        pids=limits.pids,
        stop_signal=definition.stop.signal,
        grace_s=definition.stop.grace_s,
    )
    _ask(engine.network_command(place.workspace, tool.path))
    argv = (os.path.realpath(argv[0]), *argv[1:])  # the program is mounted by its real path
    line = engine.run_command(container, box, argv, spec.cwd, spec.marked_env(), tool.path)
    pause, resume, remove = engine.name_commands(container, tool.path)
    return spec._replace(argv=line, cwd="/", cleanup=remove, pause=pause, resume=resume)


def report() -> Iterator[tuple[str, str, str, str]]:
    """The state of each means of containment, for `doctor`: (check, status, detail, remedy)."""
    held = cgroup_root.enforceable()
    missing = [name for name in _LIMITED if name not in held]
    detail = f"control groups hold {', '.join(name for name in _LIMITED if name in held) or 'nothing'}"
    detail += f"; types with a limit of {', '.join(missing)} are refused" if missing else "; disk is measured"
    yield "limits", "warning" if missing else "ok", detail, cgroup_root.REMEDY if missing else ""
    for name, tool in (("bubblewrap", bubblewrap()), ("docker", docker())):
        version = ".".join(map(str, tool.version))
        detail = (
            f"{tool.path} {version}".strip() if not tool.fault else f"{tool.fault}; types that ask for it are refused"
        )
        yield f"isolation {name}", "ok", detail, tool.mend
    yield "isolation none", "ok", "without isolation an agent can do what you can do", ""


def bubblewrap() -> Tool:
    """The program bwrap, tried with all that a run needs; tried again only while it does not work."""
    if "bwrap" not in _working:
        tool = _try_bubblewrap()
        if tool.fault:
            return tool
        _working["bwrap"] = tool
    return _working["bwrap"]


_working: dict[str, Tool] = {}


def _try_bubblewrap() -> Tool:
    path = shutil.which("bwrap")
    if path is None:
        return Tool("", fault="bwrap is not installed", mend="install the package bubblewrap")
    told = _ask([path, "--version"])
    version = tuple(int(part) for part in re.findall(r"\d+", told.stdout.decode(errors="replace"))[:3])
    line = isolation.bubblewrap(Box(write=()), ("true",), "/", path, can_seal=version >= _SEALS_FROM)
    tried = _ask(line)
    if tried.returncode == 0:
        return Tool(path, version)
    return Tool(path, version, f"bwrap does not work here: {_last_line(tried.stderr)}", _BWRAP_FAILS)


def docker() -> Tool:
    """The docker client, tried by asking its engine."""
    path = shutil.which("docker")
    if path is None:
        return Tool("", fault="docker is not installed", mend="install docker, or use isolate_with: bubblewrap")
    told = _ask([path, "info", "--format", "{{.ServerVersion}}"])
    if told.returncode != 0 or not told.stdout.strip():
        fault = f"no docker engine answers: {_last_line(told.stderr)}"
        return Tool(path, fault=fault, mend="start one, or use isolate_with: bubblewrap")
    return Tool(path, tuple(int(part) for part in re.findall(r"\d+", told.stdout.decode(errors="replace"))[:3]))


def _tool(definition: Definition) -> Tool:
    if definition.isolate_with == "none":
        return Tool("")
    tool = bubblewrap() if definition.isolate_with == "bubblewrap" else docker()
    asked = f"isolate_with: {definition.isolate_with}"
    if tool.fault:
        raise Refused(f"{asked} is not possible here: {tool.fault}", definition.source, tool.mend)
    if definition.isolate_with == "docker" and not definition.image:
        raise Refused(f"{asked} needs an image", definition.source, "add `image: <name>` with what the agent needs")
    return tool


def _box(spec: Spec, definition: Definition, place: Place, user_home: str) -> Box:
    program = reach.of_program(definition.executable, spec.env.get("PATH", os.defpath), (user_home, spec.home))
    given = [path for path in (definition.shared_cache, definition.secrets_dir, place.prompt_file) if path]
    if spec.stdin and spec.stdin != place.prompt_file:
        given.append(spec.stdin)
    return Box(
        write=(place.home, place.tmp, place.workspace),
        read=(*program.read, *_own_installation(), *given),
        links=program.links,
        bound=tuple(_credentials(definition, place.home, user_home)),
        sockets=(place.socket,),
        network=definition.shared_network,
        nested=definition.own_sandbox,
        as_root=os.geteuid() == 0,
    )


@functools.cache
def _own_installation() -> tuple[str, ...]:
    """The folders of Maestro's own installation, so that an agent can call `maestro state`."""
    packages = [str(Path(str(package.__file__)).parent) for package in (maestro, projections, replayers)]
    wanted = dict.fromkeys([sys.prefix, sys.base_prefix, *packages])
    return tuple(path for path in wanted if not any(isolation.covers(one, path) for one in isolation.SYSTEM))


def _credentials(definition: Definition, home: str, user_home: str) -> list[tuple[str, str]]:
    """The credential files that exist, as (path outside, path inside).

    One below the user's home has the same place below the agent's.
    """
    found = []
    for name in definition.credentials:
        source = f"{user_home}{name[1:]}" if name.startswith("~/") else name
        if not Path(source).is_file():
            continue
        below = isolation.covers(user_home, source)
        found.append((source, f"{home}/{os.path.relpath(source, user_home)}" if below else source))
    return found


def _ask(line: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S, check=False, cwd="/"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(line, 127, b"", str(error).encode())


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it says nothing"
