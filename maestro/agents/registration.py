"""Registration: a definition bound to this machine's program, mode and resources, or refused with the reason.

What comes out is what an assignment records: absolute paths and the form for the version that is there, so that a run
needs nothing else. What this build cannot do is refused here, so that nothing runs less isolated than asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from maestro.agents import probe
from maestro.agents.checks import ID
from maestro.agents.fitting import suggestion
from maestro.agents.machine import check_resources
from maestro.agents.printable import shown
from maestro.agents.schema import Definition
from maestro.model.errors import Invalid, Refused


class Site(msgspec.Struct, frozen=True):
    """Where a definition is registered from: the caller's environment and folder, and the root of workspaces."""

    env: Mapping[str, str]
    cwd: str
    workspace_root: str


def resolve(definition: Definition, site: Site) -> Definition:
    """The definition with its program, version and form. Blocks while the program is asked (`probe.TIMEOUT_S`).

    Raises `Refused` for what is not there or cannot be done here, `Invalid` for a mode that the agent does not have.
    """
    check_supported(definition)
    check_paths(definition)
    check_resources(definition, site.workspace_root)
    executable = _program(definition, site)
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
    _check_mode(definition, site)
    return definition


def check_supported(definition: Definition) -> None:
    """Raises `Refused` for the first key whose function this build does not have."""
    form = definition
    unsupported = {
        f"isolate_with: {form.isolate_with}": form.isolate_with != "none",
        "home: agent": form.home == "agent",
        f"output.format: {form.output.format}": form.output.format != "text",
        "output.session, text and usage": bool(form.output.session or form.output.text or form.output.usage),
        "success.final_event and fail_event": bool(form.success.final_event or form.success.fail_event),
        "resume": form.resume is not None,
        "limits.silent_s": form.limits.silent_s is not None,
        "files below {home} with home: user": any(file.path.startswith("{home}/") for file in form.files),
    }
    for key, asked in unsupported.items():
        if asked:
            mend = "remove the key" if not key.startswith("isolate") else "set isolate_with: none, if that is enough"
            raise Refused(f"{key} is not supported by this version of Maestro", where=form.source, mend=mend)


def check_paths(definition: Definition) -> None:
    """The template, the secrets and the cache are folders that can be read. Raises `Refused`."""
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
    """What a user should know about a definition that is valid all the same. One line each, for stderr."""
    limits = [name for name in ("memory", "cpu", "pids", "disk") if getattr(definition.resource_limits, name)]
    if not limits:
        return []
    names = ", ".join(limits)
    return [f"type {definition.slug}: resource_limits ({names}) are checked against the machine but not enforced"]


def _program(definition: Definition, site: Site) -> str:
    found = probe.find_program(definition, site.env, site.cwd)
    if found.executable:
        return found.executable
    variable = probe.variable_of(definition)
    mend = f"install it, or set {variable} to its path" if variable else "install it, or correct `bin`"
    places = ", ".join(shown(place) for place in found.tried) or "no `bin` given"
    raise Refused(f"no program for type {definition.slug}: looked at {places}", where=definition.source, mend=mend)


def _check_mode(definition: Definition, site: Site) -> None:
    """The program has the mode: by its own list, else by the adapter's; where neither is known any name will do."""
    if "{mode}" not in definition.argv:
        return
    mode = definition.program_mode
    known: tuple[str, ...] = ()
    if definition.modes.listing is not None:
        known = probe.modes(definition, definition.modes.listing, definition.executable, site.env)
    known = known or definition.modes.static
    if mode not in known if known else not ID.fullmatch(mode):
        names = sorted({*known, *definition.modes.map})
        raise Invalid(
            f"{shown(definition.executable)} has no mode {shown(definition.mode)}",
            where=definition.source,
            mend=suggestion(definition.mode, names),
        )
