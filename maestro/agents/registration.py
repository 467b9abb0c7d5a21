"""Registration: a definition bound to this machine's program, mode and resources, or refused with the reason.

What comes out is what an assignment records: absolute paths and the form for the version that is there, so that a run
needs nothing else. What contains a run is checked beside it, by `maestro.runtime.provision.containment`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from maestro.agents import probe
from maestro.agents.checks import ID
from maestro.agents.machine import check_resources
from maestro.agents.parts import Budget, ModeList
from maestro.agents.schema import Definition
from maestro.documents.conversion import suggestion
from maestro.model.errors import Invalid, Refused
from maestro.printable_text import shown

BOUND = frozenset({"executable", "found_version", "path", "known_modes", "stamp", "older"})
"""The keys that `resolve` sets."""
UNREAD = frozenset({"requires", "trial"})
"""The keys that no run reads."""


class Site(msgspec.Struct, frozen=True):
    """Where a definition is registered from: the caller's environment and folder, and the root of workspaces."""

    env: Mapping[str, str]
    cwd: str
    workspace_root: str


def resolve(definition: Definition, site: Site) -> Definition:
    """Bind a definition to its program, with the version and the form for it. Blocks up to `probe.TIMEOUT_S`.

    Raises Refused for what is not there or cannot be done here, Invalid for a mode that the agent does not have.
    """
    check_paths(definition)
    check_resources(definition, site.workspace_root)
    executable = program(definition, site.env, site.cwd)
    version = probe.version(definition, executable, site.env)
    least = definition.version.min if definition.version is not None else ""
    if least and probe.is_older(version, least):
        if not definition.older:
            told = f"version {version} is" if version else "its version is not told, so it may be"
            mend = "install a newer one"
            raise Refused(f"{executable}: {told} older than {least}", where=definition.source, mend=mend)
        definition = definition.older_form()
    definition = msgspec.structs.replace(
        definition, executable=executable, found_version=version, path=site.env.get("PATH", ""), older={}
    )
    known = _known_modes(definition, site.env)
    if not _has_mode(definition, known):
        raise Invalid(
            f"{shown(executable)} has no mode {shown(definition.mode)}",
            where=definition.source,
            mend=suggestion(definition.mode, {*known, *definition.modes.map}),
        )
    return msgspec.structs.replace(definition, known_modes=known, stamp=stamp(executable))


def wrong_mode(definition: Definition, env: Mapping[str, str]) -> str:
    """Why a run of a resolved definition must not start, as its program has not the mode (any more); "" where it has.

    A program that was replaced since it was registered is asked again; blocks meanwhile, once for each new one.
    """
    known, now = definition.known_modes, stamp(definition.executable)
    if now != definition.stamp and now and definition.modes.listing is not None and "{mode}" in definition.argv:
        key = (definition.executable, now, definition.modes.listing)
        if key not in _asked:
            _asked[key] = _known_modes(definition, {**env, "PATH": definition.path or env.get("PATH", os.defpath)})
        known = _asked[key]
    if _has_mode(definition, known):
        return ""
    return f"{definition.executable} has no mode {definition.program_mode}, it has {', '.join(known)}"


_asked: dict[tuple[str, str, ModeList], tuple[str, ...]] = {}
"""The modes of programs that were replaced after their registration, by path and stamp: asked once a daemon."""


def stamp(executable: str) -> str:
    """A text that changes when the file of a program is replaced; "" where there is no file."""
    try:
        found = os.stat(executable)  # noqa: PTH116 - follows links, as an execution does
    except OSError:
        return ""
    return f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"


def differences(recorded: Definition, current: Definition) -> list[str]:
    """The keys that a run reads in which a recorded definition differs from its file as it is now, but for those that
    bind it to a program.

    current: not resolved; the older form counts as well, where it has one.
    """
    told = [
        [
            name
            for name in Definition.__struct_fields__
            if name not in BOUND | UNREAD and getattr(recorded, name) != getattr(form, name)
        ]
        for form in (current, current.older_form())
    ]
    return min(told, key=len)


def check_paths(definition: Definition) -> None:
    """Check that the template, the secrets and the cache are folders that can be read. Raises Refused."""
    for key in ("workspace_template", "secrets_dir", "shared_cache"):
        path = getattr(definition, key)
        if not path:
            continue
        if not Path(path).is_dir():
            what = "is no folder" if os.path.lexists(path) else "does not exist"
            raise Refused(f"{key} {shown(path)} {what}", where=definition.source, mend="create it, or correct the path")
        if not os.access(path, os.R_OK | os.X_OK):
            raise Refused(f"{key} {shown(path)} cannot be read", where=definition.source, mend="change its mode")


def notices(definition: Definition) -> list[str]:
    """What a user should know about a valid definition, one line each, for stderr."""
    return [*_below_home(definition), *_late_budget(definition)]


def _late_budget(definition: Definition) -> list[str]:
    if definition.budget == Budget() or definition.output.usage_told == "stream":
        return []
    does = "tells what it used at the end only" if definition.output.usage_told else "does not tell what it uses"
    return [f"type {definition.slug}: its program {does}, so its budget cannot stop it in time"]


def _below_home(definition: Definition) -> list[str]:
    names = ", ".join(shown(file.path) for file in definition.files if file.path.startswith("{home}/"))
    if not names or definition.private_home:
        return []
    return [f"type {definition.slug}: {names} is written into your own home before each run (home: user)"]


def program(definition: Definition, env: Mapping[str, str], cwd: str) -> str:
    """The path of a definition's program, which is not run. Raises Refused where there is none."""
    found = probe.find_program(definition, env, cwd)
    if found.executable:
        return found.executable
    variable = probe.variable_of(definition)
    mend = f"install it, or set {variable} to its path" if variable else "install it, or correct `bin`"
    places = ", ".join(shown(place) for place in found.tried) or "no `bin` given"
    raise Refused(f"no program for type {definition.slug}: looked at {places}", where=definition.source, mend=mend)


def _known_modes(definition: Definition, env: Mapping[str, str]) -> tuple[str, ...]:
    """The modes of a program: by its own list, else by the adapter; () where neither is known or none is used."""
    if "{mode}" not in definition.argv:
        return ()
    known: tuple[str, ...] = ()
    if definition.modes.listing is not None:
        known = probe.modes(definition, definition.modes.listing, definition.executable, env)
    return known or definition.modes.static


def _has_mode(definition: Definition, known: tuple[str, ...]) -> bool:
    """Whether a program has the mode of its definition. Where no modes are known, it has every mode."""
    if "{mode}" not in definition.argv:
        return True
    mode = definition.program_mode
    return mode in known if known else ID.fullmatch(mode) is not None
