"""Definitions of agent types: files of `agents.d` over the built-in adapters, read, checked and listed.

Nothing here runs a program or looks at the machine; `registration.resolve` does, and gives the definition that an
assignment records.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from maestro.agents import adapters
from maestro.agents.adapters import carried, merged_value, overridden
from maestro.agents.checks import ID, check_delegate, check_id, check_keys, resources
from maestro.agents.rules import check_form
from maestro.agents.schema import Definition as Definition, TypeDocument
from maestro.documents.conversion import fit, suggestion
from maestro.documents.yaml_tree import LIMITS, Document, read
from maestro.model.errors import Invalid, MaestroError, NotFound
from maestro.printable_text import shown

BUILT_IN = "built-in"
Dirs: TypeAlias = Sequence[str | Path]
"""Folders of definitions; a type is taken from the last one that has it."""


class TypeInfo(msgspec.Struct, frozen=True):
    """A type as `agent types` lists it. file: its path, or `built-in`; reason: why it is not valid, else ""."""

    slug: str
    valid: bool
    file: str
    reason: str = ""
    adapter: str = ""
    mode: str = ""
    capabilities: tuple[str, ...] = ()


def parse(text: str | bytes, where: str, slug: str | None = None, dirs: Dirs = ()) -> Definition:
    """The definition in a YAML text. where: its path, for errors and for what is relative in it.

    slug: what it must be called, where the file's name says so. dirs: where another file may be its adapter. Raises
    `Invalid` with `file:line`.
    """
    document, keys = _read(text, where)
    if slug is not None and keys["slug"] != slug:
        mend = f"name the file {keys['slug']}.yaml, or the slug {slug}"
        raise document.invalid(("slug",), f"is {keys['slug']}, but the file is called {shown(slug)}.yaml", mend)
    return _merged(document, keys, _below(document, keys, dirs))


def _read(text: str | bytes, where: str) -> tuple[Document, dict[str, Any]]:
    document = read(text, where)
    keys = fit(document, TypeDocument)
    name = keys.pop("name", None)
    keys.setdefault("slug", name)
    if not keys["slug"]:
        raise document.invalid((), "key 'slug' is missing", "add `slug: …`")
    check_id(document, "slug", keys["slug"])
    check_keys(document, keys)
    return document, keys


def built_in(name: str) -> Definition:
    """The definition of a built-in adapter as a type of its own name. Raises `NotFound`."""
    if name not in adapters.names():
        raise NotFound(f"no adapter {shown(name)}", mend=suggestion(name, adapters.names()))
    document, keys = _read(f"slug: {name}\nadapter: {name}\n", BUILT_IN)
    return _merged(document, keys, adapters.adapter(name))


def load(slug: str, dirs: Dirs) -> Definition:
    """The definition of a type: of the last of `dirs` that has `<slug>.yaml`, else the built-in one.

    Raises `NotFound` where there is none, `Invalid` where the file that counts is not valid.
    """
    if ID.fullmatch(slug):
        for folder in reversed(dirs):
            file = Path(folder) / f"{slug}.yaml"
            if os.path.lexists(file):
                return parse(file_bytes(file), str(file), slug, dirs)
        if slug in adapters.names():
            return built_in(slug)
    known = {info.slug for info in types(dirs)}
    places = " or ".join(str(folder) for folder in reversed(dirs)) or "MAESTRO_AGENTS_DIR"
    mend = suggestion(slug, known)
    if not mend.startswith("did"):
        mend = f"write {shown(slug)}.yaml in {places}; {mend}"
    raise NotFound(f"no agent type {shown(slug)}", mend=mend, sought=("type", slug))


def reload(recorded: Definition, dirs: Dirs) -> Definition:
    """The definition as its file is now, where that is still there, else as `load` finds it. Raises as `load`."""
    source = Path(recorded.source)
    if not source.is_absolute() or not os.path.lexists(source):
        return load(recorded.slug, dirs)
    return parse(file_bytes(source), str(source), None, dirs)


def types(dirs: Dirs) -> list[TypeInfo]:
    """All types by slug, valid or not. Files of later `dirs` hide those of earlier ones and the built-in ones."""
    found = {name: _info(name, BUILT_IN, built_in(name)) for name in adapters.names()}
    for folder in dirs:
        for file in _files(Path(folder)):
            found[file.stem] = _read_info(file, dirs)
    return [found[slug] for slug in sorted(found)]


def _below(document: Document, keys: dict[str, Any], dirs: Dirs) -> dict[str, Any]:
    """The keys of a file's adapter, which the file's own keys override. Names the adapter in `keys`."""
    name = keys["adapter"] = adapter_name(keys)
    if name == "none":
        return {}
    if name in adapters.names():
        return adapters.adapter(name)
    if (file := adapter_file(name, keys["slug"], document.where, dirs)) is not None:
        return _keys_of(file, document)
    known = (*adapters.names(), "none")
    raise document.invalid(("adapter",), f"{shown(name)} is no adapter", suggestion(name, known))


def adapter_name(keys: Mapping[str, Any]) -> str:
    """The adapter of a file with these keys."""
    return keys.get("adapter") or ("none" if keys.get("bin") and keys.get("argv") else "kilo")


def adapter_file(name: str, slug: str, where: str, dirs: Dirs) -> Path | None:
    """The file that is the adapter `name` of the file at `where`, None where there is none."""
    for folder in (*reversed(dirs), Path(where).parent):
        file = Path(folder) / f"{name}.yaml"
        if ID.fullmatch(name) and name != slug and os.path.lexists(file):
            return file
    return None


def _keys_of(file: Path, above: Document) -> dict[str, Any]:
    """The keys of a file of agents.d that another file names as its adapter."""
    document, keys = _read(file_bytes(file), str(file))
    name = adapter_name(keys)
    if name != "none" and name not in adapters.names():
        raise above.invalid(("adapter",), f"{file.stem} has itself {name} as its adapter", "name that one")
    _own(document, keys)
    return overridden(carried(adapters.adapter(name) if name != "none" else {}, keys), keys)


def _own(document: Document, keys: dict[str, Any]) -> None:
    """Complete the keys of one file: check names, convert amounts, make paths absolute."""
    if "mode" in keys:
        check_id(document, "mode", keys["mode"])
    for at, capability in enumerate(keys.get("capabilities", ())):
        if not ID.fullmatch(capability):
            raise document.invalid(("capabilities", at), f"{shown(capability)} is no name", "use letters and digits")
    if limits := _resources(document, keys):
        keys["resource_limits"] = limits
    for key in ("workspace_template", "secrets_dir", "shared_cache"):
        if keys.get(key):
            keys[key] = _absolute(document, key, keys[key])
    check_delegate(document, keys)
    if "argv" in keys:
        keys.setdefault("trial", [])  # the adapter's are for its own command line: behind another they might do work
        if "via" not in keys.get("prompt", {}) and keys.get("transport") != "acp":
            keys["prompt"] = {**keys.get("prompt", {}), "via": way_of_prompt(keys["argv"])}


def _merged(document: Document, keys: dict[str, Any], below: dict[str, Any]) -> Definition:
    keys, below = dict(keys), dict(below)
    _own(document, keys)
    below = carried(below, keys)
    older = _older(below.pop("older", {}), keys)
    merged = overridden(below, keys)
    merged |= {"source": document.where, "older": older}
    merged["mode"] = merged.get("mode") or merged.get("modes", {}).get("default", "")
    definition = msgspec.convert(merged, Definition)
    for form in (definition, definition.older_form()):
        _check_form(document, form)
    return definition


def _older(below: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    """The keys of the older form, the file's over them; what the file says of events is for the newer form."""
    if below.get("output", {}).get("format") == "text" and keys.get("output", {}).get("format") != "text":
        success = {key: rule for key, rule in keys.get("success", {}).items() if not key.endswith("_event")}
        keys = {**keys, "output": below["output"], "success": success, "resume": None}
        below = {**below, "resume": None}
    return {key: merged_value(value, keys.get(key, value), key) for key, value in below.items()}


def way_of_prompt(argv: list[str]) -> str:
    """How the prompt reaches a program whose file gives the arguments and says no more: as its placeholder tells."""
    return "file" if "{prompt_file}" in argv else "arg" if "{prompt}" in argv else "stdin"


def _check_form(document: Document, form: Definition) -> None:
    """Check what only the merged keys can tell: the prompt reaches the program, and the rules fit the output."""
    if form.transport == "acp":
        return _check_acp(document, form)
    if form.prompt.via == "arg" and "{prompt}" not in form.argv:
        raise document.invalid(("argv",), "has no {prompt}", "add it, or set prompt: {via: stdin}")
    if form.prompt.via == "file" and "{prompt_file}" not in form.argv:
        raise document.invalid(("argv",), "has no {prompt_file}", "add it, or set prompt: {via: stdin}")
    if not form.mode and "{mode}" in form.argv:
        raise document.invalid((), "key 'mode' is missing", "add `mode: …`")
    check_form(document, form)


def _check_acp(document: Document, form: Definition) -> None:
    """Check what only the merged keys can tell of a program that is driven by the Agent Client Protocol."""
    if not form.argv:
        mend = 'write the command line with which the program speaks it, like argv: ["{bin}", acp]'
        raise document.invalid(("transport",), f"is acp, which the adapter {form.adapter} knows no way to", mend)
    if form.isolate_with == "docker":
        mend = "use isolate_with: bubblewrap, or transport: cli"
        raise document.invalid(("transport",), "is acp, whose driver is in no container", mend)
    for placeholder in ("{prompt}", "{prompt_file}", "{mode}"):
        if placeholder in form.argv:
            mend = "leave it out: prompt and mode are told by the protocol"
            raise document.invalid(("argv",), f"has {placeholder}", mend)
    check_form(document, form)


def _resources(document: Document, keys: dict[str, Any]) -> dict[str, Any]:
    if "resources" in keys and "resource_limits" in keys:
        raise document.invalid(("resources",), "means the same as resource_limits", "keep one of them")
    key = "resources" if "resources" in keys else "resource_limits"
    found = resources(document, keys, key)
    keys.pop("resources", None)
    return found


def _absolute(document: Document, key: str, value: str) -> str:
    """A path in a file, made absolute: `~` is the user's home, a relative one starts at the folder of the file."""
    path = os.path.expanduser(value)  # noqa: PTH111 - leaves an unknown ~user as it is, where pathlib raises
    if path.startswith("~"):
        raise document.invalid((key,), f"is {shown(value)}, which is nobody's home", "write an absolute path")
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(document.where)), path))  # noqa: PTH100,PTH118,PTH120


def file_bytes(file: str | Path) -> bytes:
    """The bytes of a regular file, never more than a document may have. Does not block on a pipe in its place."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Invalid("is no regular file", where=shown(str(file)), mend="replace it by a YAML file")
            return stream.read(LIMITS.bytes_max + 1)
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror}", where=shown(str(file)), mend="check the file") from None


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.suffix in (".yaml", ".yml"))
    except OSError:
        return []  # MAESTRO_AGENTS_DIR may name folders that do not exist


def _read_info(file: Path, dirs: Dirs) -> TypeInfo:
    if file.suffix == ".yml":
        reason = f"{shown(str(file))}: is not read; name it {shown(file.stem)}.yaml"
        return TypeInfo(file.stem, valid=False, file=str(file), reason=reason)
    try:
        return _info(file.stem, str(file), parse(file_bytes(file), str(file), file.stem, dirs))
    except MaestroError as error:
        return TypeInfo(file.stem, valid=False, file=str(file), reason=error.line())


def _info(slug: str, file: str, definition: Definition) -> TypeInfo:
    return TypeInfo(
        slug,
        valid=True,
        file=file,
        adapter=definition.adapter,
        mode=definition.mode,
        capabilities=definition.capabilities,
    )
