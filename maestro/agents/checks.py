"""Checks of a document's keys that types cannot express: placeholders, patterns, names, sizes, each with its line."""

from __future__ import annotations

import re
from typing import Any

from maestro.agents.launch import EMBEDDED
from maestro.agents.rules import check_pattern, check_rules
from maestro.documents.conversion import suggestion
from maestro.documents.yaml_tree import Document, Path
from maestro.model.errors import Invalid
from maestro.model.scheduling.delegation import DEPTH_MAX, NUMBER_MAX
from maestro.model.target import check_target
from maestro.printable_text import shown

PLACEHOLDERS = frozenset({"bin", "mode", "prompt", "prompt_file", "workspace", "home", "tmp", "session"})
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_BELOW = re.compile(r"\{(?:workspace|home|tmp)\}/[^{}]+")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)\s*([KMGT]?)(i?B?)", re.IGNORECASE)
_SCALES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_MAY_BE_EMPTY: tuple[Path, ...] = (("args",), ("acp", "argv"), ("trial",), ("resume", "args"), ("resume", "argv"))
"""Lists of arguments that a file may empty: they are `[]` where nobody names them."""
_FILE_PLACES = ("{workspace}/", "{home}/", "{tmp}/")
_NUMBERS: dict[Path, float] = {
    ("stop", "grace_s"): 0.0,
    ("acp", "answer_s"): 0.001,
    ("limits", "timeout_s"): 0.001,
    ("limits", "silent_s"): 0.001,
    ("limits", "verify_s"): 0.001,
    ("prompt", "max_bytes"): 1,
    ("budget", "tokens"): 1,
    ("budget", "cost"): 0.0,
}


def check_keys(document: Document, keys: dict[str, Any]) -> None:
    """Check the keys that adapters and definitions share. Raises Invalid at the first that cannot be right."""
    _check_arguments(document, keys)
    _check_probes(document, keys)
    check_rules(document, keys)
    _check_environment(document, keys)
    _check_numbers(document, keys)
    for name, value in keys.get("env", {}).items():
        _check_embedded(document, value, ("env", name))
    for at, file in enumerate(keys.get("files", ())):
        _check_file(document, file, ("files", at))
        _check_embedded(document, file["content"], ("files", at, "content"))
    for at, rule in enumerate(keys.get("requires", ())):
        _check_requirement(document, rule, ("requires", at))


def _check_arguments(document: Document, keys: dict[str, Any]) -> None:
    lists: dict[Path, frozenset[str]] = {
        ("argv",): PLACEHOLDERS - {"session"},
        ("args",): PLACEHOLDERS - {"session", "prompt", "prompt_file"},
        ("acp", "argv"): PLACEHOLDERS - {"session", "prompt", "prompt_file", "mode"},
        ("resume", "args"): PLACEHOLDERS,
        ("resume", "argv"): PLACEHOLDERS,
        ("verify",): PLACEHOLDERS - {"session", "prompt"},
        ("version", "argv"): frozenset({"bin"}),
        ("modes", "list", "argv"): frozenset({"bin"}),
        ("trial",): frozenset(),
    }
    for path, allowed in lists.items():
        arguments = _at(keys, path)
        if isinstance(arguments, str):
            continue
        if arguments == [] and path not in _MAY_BE_EMPTY:
            raise document.invalid(path, "is empty", "write the program and its arguments")
        for at, argument in enumerate(arguments or ()):
            _check_placeholders(document, argument, allowed, (*path, at))
    cwd = keys.get("cwd")
    if cwd is not None and cwd not in ("{workspace}", "{home}", "{tmp}") and not cwd.startswith("/"):
        raise document.invalid(("cwd",), f"is {shown(cwd)}", "use {workspace}, or an absolute path")


def _check_placeholders(document: Document, argument: str, allowed: frozenset[str], path: Path) -> None:
    whole = _PLACEHOLDER.fullmatch(argument)
    if whole is not None:
        if whole[1] not in allowed:
            raise document.invalid(path, f"{argument} is no placeholder here", suggestion(whole[1], allowed))
        return
    if _BELOW.fullmatch(argument):
        return
    part = next((found for found in _PLACEHOLDER.finditer(argument) if found[1] in PLACEHOLDERS), None)
    if part is not None:
        raise document.invalid(path, f"{part[0]} is only a part of the argument", "give it an argument of its own")


def _check_embedded(document: Document, text: str, path: Path) -> None:
    """Check a text in which placeholders are filled wherever they are."""
    for found in EMBEDDED.finditer(text):
        if found[0] in ("{prompt}", "{session}"):
            mend = "use {prompt_file}" if found[0] == "{prompt}" else "use it in resume"
            raise document.invalid(path, f"{found[0]} is no placeholder here", mend)


def _check_probes(document: Document, keys: dict[str, Any]) -> None:
    probes: tuple[Path, ...] = (("version", "regex"), ("modes", "list", "regex"))
    for path in probes:
        if (pattern := _at(keys, path)) is not None:
            check_pattern(document, pattern, path, groups=1)
    least = _at(keys, ("version", "min"))
    if least and not re.fullmatch(r"\d{1,9}(\.\d{1,9})*", least):
        raise document.invalid(("version", "min"), f"is {shown(least)}", "write it like 7.0")


def _check_environment(document: Document, keys: dict[str, Any]) -> None:
    named: dict[str, list[tuple[Path, str]]] = {
        "env": [(("env", name), name) for name in keys.get("env", {})],
        "env_inherit": [(("env_inherit", at), name) for at, name in enumerate(keys.get("env_inherit", ()))],
        "secret_env": [(("secret_env", at), name) for at, name in enumerate(keys.get("secret_env", ()))],
    }
    for names in named.values():
        for path, name in names:
            if not _ENV_NAME.fullmatch(name):
                raise document.invalid(path, f"{shown(name)} is no name of a variable", "use letters, digits and _")
            if name.startswith("MAESTRO_"):
                raise document.invalid(path, f"{name} is Maestro's own and set by it", "use another name")
    plain = set(keys.get("env", {}))
    for path, name in named["secret_env"]:
        if name in plain:
            raise document.invalid(path, f"{name} is also in env, where its value is no secret", "remove one of them")


def _check_numbers(document: Document, keys: dict[str, Any]) -> None:
    for path, least in _NUMBERS.items():
        value = _at(keys, path)
        if value is not None and not least <= value <= 1e9:
            raise document.invalid(path, f"is {value}", f"use {least:g} or more, below a billion")


def _check_file(document: Document, file: dict[str, Any], path: Path) -> None:
    place = file["path"]
    inside = any(place.startswith(start) and place != start for start in _FILE_PLACES)
    if not inside or any(part in ("..", ".", "") for part in place.split("/")[1:]):
        mend = "begin it with {workspace}/, {home}/ or {tmp}/, without `..`"
        raise document.invalid((*path, "path"), f"is {shown(place)}", mend)
    if not re.fullmatch(r"0?[0-7]{3}", file.get("mode", "0600")):
        raise document.invalid((*path, "mode"), f"is {shown(file['mode'])}", 'write it like "0600"')


def _check_requirement(document: Document, rule: dict[str, Any], path: Path) -> None:
    if not (rule.get("env") or rule.get("files") or rule.get("not_root")):
        raise document.invalid(path, "has no condition", "add env, files or not_root")
    for key in ("env", "given"):
        for at, name in enumerate(rule.get(key, ())):
            if not _ENV_NAME.fullmatch(name):
                raise document.invalid((*path, key, at), f"{shown(name)} is no name of a variable", "correct it")
    for at, file in enumerate(rule.get("files", ())):
        if not file.startswith(("~/", "/")):
            raise document.invalid((*path, "files", at), f"is {shown(file)}", "begin it with ~/ or /")


def check_id(document: Document, key: str, value: str) -> None:
    """Check a name that becomes a folder, a key or an argument. Raises Invalid."""
    if not ID.fullmatch(value):
        mend = "use up to 64 letters, digits, dot, dash and underscore, beginning with a letter or digit"
        raise document.invalid((key,), f"{shown(value)} is no name", mend)


def check_delegate(document: Document, keys: dict[str, Any]) -> None:
    """Check to whom, how deep and how much runs may delegate. Raises Invalid."""
    delegate = keys.get("delegate") or {}
    for at, target in enumerate(delegate.get("to", ())):
        try:
            check_target(target)
        except Invalid as error:
            raise document.invalid(("delegate", "to", at), error.what, error.mend) from None
    if "to" in delegate and not delegate["to"]:
        raise document.invalid(("delegate", "to"), "is empty", "name targets, or leave out `delegate`")
    for key, most in (("depth", DEPTH_MAX), ("max", NUMBER_MAX)):
        value = delegate.get(key, 1)
        if not 1 <= value <= most:
            raise document.invalid(("delegate", key), f"is {value}", f"use 1 to {most}")


def resources(document: Document, keys: dict[str, Any], key: str) -> dict[str, Any]:
    """The amounts of `resource_limits`, in bytes, cores and numbers. Raises Invalid for what is no amount."""
    written = keys.get(key, {})
    found: dict[str, Any] = {}
    for name, value in written.items():
        amount = _size(value) if name in ("memory", "disk") else _cores(value) if name == "cpu" else value
        if value is not None and (amount is None or amount <= 0):
            mend = {"cpu": "use cores, like 1.5", "pids": "use a number above 0"}.get(name, "use a size, like 512M")
            raise document.invalid((key, name), f"is {shown(str(value))}", mend)
        found[name] = amount
    return found


def _size(value: str | int | None) -> int | None:
    if value is None or isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value.strip())
    return int(float(match[1]) * _SCALES[match[2].lower()]) if match else None


def _cores(value: str | float | None) -> float | None:
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"[0-9]{1,6}m", value):
        return int(value[:-1]) / 1000
    return float(value) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", value) else None


def _at(keys: dict[str, Any], path: Path) -> Any:
    found: Any = keys
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found
