"""The provenance of a definition: for each of its keys the file and line, or the adapter, that gives it.

The files are merged once more as `definitions` merges them, with values that know where they stand, so that the rules
of merging are in one place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from maestro.agents import adapters
from maestro.agents.adapters import carried, overridden
from maestro.agents.definitions import BUILT_IN, Dirs, adapter_file, adapter_name, file_bytes, load, way_of_prompt
from maestro.agents.registration import BOUND
from maestro.agents.schema import AdapterDocument, Definition, TypeDocument
from maestro.documents.conversion import fit
from maestro.documents.yaml_tree import Document, Node, read

DEFAULT = "default"


class Explained(msgspec.Struct, frozen=True):
    """An effective definition, not bound to a program. keys: its data; origins: where each comes from, by its path.

    older: what is different for a program that is older than `version.min`.
    """

    slug: str
    source: str
    keys: dict[str, Any]
    origins: dict[str, str]
    older: dict[str, Any]


class _Sourced:
    """A value of a file, which equals the plain value, and knows its place."""

    def __init__(self, value: object, origin: str) -> None:
        self.value = value
        self.origin = origin

    def __eq__(self, other: object) -> bool:
        return bool(self.value == (other.value if isinstance(other, _Sourced) else other))

    __hash__ = None  # type: ignore[assignment]


def explain(slug: str, dirs: Dirs) -> Explained:
    """The effective definition of a type, with where each key comes from. Raises as `definitions.load`."""
    definition = load(slug, dirs)
    origins = dict(_flat(_merged(definition, dirs)))
    if "mode" not in origins and "modes.default" in origins:
        origins["mode"] = f"{origins['modes.default']} (modes.default)"
    keys = definition.to_dict()
    for name in (*BOUND, "source"):
        del keys[name]
    keys = {"slug": keys.pop("slug"), "adapter": keys.pop("adapter"), "mode": keys.pop("mode"), **keys}
    if not definition.mode:
        del keys["mode"]
    told = {path: _origin(path, origins) for path in leaves(keys)}
    return Explained(definition.slug, definition.source, keys, told, definition.older)


def leaves(keys: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The paths of all values that are no mapping, in order: `output.text.path`."""
    for key, value in keys.items():
        path = f"{above}.{key}" if above else key
        if isinstance(value, dict) and value:
            yield from leaves(value, path)
        else:
            yield path


def _merged(definition: Definition, dirs: Dirs) -> dict[str, Any]:
    """The keys of all files, merged, each value with its place."""
    if definition.source == BUILT_IN:
        return _built_in(definition.adapter)
    document = read(file_bytes(definition.source), definition.source)
    own = _file(document)
    below: dict[str, Any] = {}
    if definition.adapter in adapters.names():
        below = _built_in(definition.adapter)
    elif (file := adapter_file(definition.adapter, definition.slug, document.where, dirs)) is not None:
        between = read(file_bytes(file), str(file))
        name = adapter_name(fit(between, TypeDocument))
        theirs = _file(between)
        below = overridden(_carried(_built_in(name) if name in adapters.names() else {}, theirs), theirs)
    return overridden(_carried(below, own), own)


def _carried(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    document = read(adapters.ACP.read_bytes(), "acp")
    layer = _sourced(fit(document, AdapterDocument), document.root, lambda line: f"transport acp, line {line}")
    return carried(below, above, {key: value for key, value in layer.items() if key != "name"})


def _file(document: Document) -> dict[str, Any]:
    """The values of a file of agents.d, by the names that a definition has for them."""
    keys = fit(document, TypeDocument)
    found = _sourced(keys, document.root, lambda line: f"{document.where}:{line}")
    for written, name in (("name", "slug"), ("resources", "resource_limits")):
        if written in found:
            found.setdefault(name, found[written])
            del found[written]
    if "argv" in found:
        found.setdefault("trial", _Sourced([], f"{found['argv'].origin} (as argv has it)"))
    if "argv" in found and "via" not in found.get("prompt", {}) and found.get("transport") != "acp":
        via = _Sourced(way_of_prompt(keys["argv"]), f"{found['argv'].origin} (as argv has it)")
        found["prompt"] = {**found.get("prompt", {}), "via": via}
    return found


def _built_in(name: str) -> dict[str, Any]:
    document = read(adapters.text(name), name)
    found = _sourced(fit(document, AdapterDocument), document.root, lambda line: f"adapter {name}, line {line}")
    return {key: value for key, value in found.items() if key not in ("name", "older")}


def _sourced(keys: Mapping[str, Any], node: Node, origin: Any) -> dict[str, Any]:
    return {
        key: _sourced(value, node.entries[key], origin)
        if isinstance(value, dict) and value
        else _Sourced(value, origin(node.key_lines[key]))
        for key, value in keys.items()
    }


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        path = f"{above}.{key}" if above else key
        if isinstance(value, _Sourced):
            yield path, value.origin
        else:
            yield from _flat(value, path)


def _origin(path: str, origins: Mapping[str, str]) -> str:
    """Where a value comes from: of itself, or of the list or text that it is a part of."""
    while path:
        if path in origins:
            return origins[path]
        path = path.rpartition(".")[0]
    return DEFAULT


def commented(found: Mapping[str, Any]) -> list[str]:
    """An explained definition, as plain data, as YAML: a key a line, each with its provenance as a comment."""
    lines = [*_commented(found["keys"], found["origins"], "", "")]
    width = min(max(len(text) for text, _ in lines), 60)
    shown = [f"{text:<{width}}  # {origin}" if origin else text for text, origin in lines]
    if found["older"]:
        shown.append("# for a program older than version.min, or one that does not tell its version, these differ: ")
        shown[-1] += ", ".join(found["older"])
    return [f"# {found['source']}", *shown]


def _commented(
    keys: Mapping[str, Any], origins: Mapping[str, str], path: str, indent: str
) -> Iterator[tuple[str, str]]:
    for key, value in keys.items():
        below = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            yield f"{indent}{_yaml(key)}:", ""
            yield from _commented(value, origins, below, f"{indent}  ")
        else:
            yield f"{indent}{_yaml(key)}: {_yaml(value)}", origins.get(below, DEFAULT)


def _yaml(value: object) -> str:
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if "\n" not in text else json.dumps(value, ensure_ascii=False)  # JSON is YAML, on one line
