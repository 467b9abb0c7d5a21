"""The built-in adapters: how each known program is driven, and how a definition overrides it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from maestro.agents.checks import check_keys
from maestro.agents.schema import AdapterDocument
from maestro.documents.conversion import fit
from maestro.documents.yaml_tree import read

WHOLE = frozenset({"match", "after", "text", "usage", "final_event", "fail_event", "refused_event", "resume", "verify"})
"""Keys whose mappings are replaced as a whole, as parts of two of them would contradict each other."""

_FOLDER = Path(__file__).parent / "builtin"
ACP = Path(__file__).parent / "transports" / "acp.yaml"
"""What the events of the driver mean, for every program that speaks the Agent Client Protocol."""


def names() -> tuple[str, ...]:
    """The names of the built-in adapters, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def text(name: str) -> bytes:
    """The YAML of a built-in adapter."""
    return (_FOLDER / f"{name}.yaml").read_bytes()


@cache
def adapter(name: str) -> dict[str, Any]:
    """The keys of a built-in adapter as plain data, `older` included, which callers must not change."""
    document = read(text(name), str(_FOLDER / f"{name}.yaml"))
    keys = fit(document, AdapterDocument)
    check_keys(document, keys)
    del keys["name"]
    return keys


@cache
def _acp() -> dict[str, Any]:
    document = read(ACP.read_bytes(), str(ACP))
    keys = fit(document, AdapterDocument)
    check_keys(document, keys)
    del keys["name"]
    return keys


def carried(below: dict[str, Any], above: dict[str, Any], layer: dict[str, Any] | None = None) -> dict[str, Any]:
    """The keys of an adapter as a file with the keys `above` needs them: what its `transport` asks for is over them.

    layer: the keys of that transport, where they are not plain data. Neither is changed.
    """
    if above.get("transport") != "acp" or below.get("transport") == "acp":
        return below
    kept = {key: value for key, value in below.items() if key not in ("older", "argv", "trial", "args")}
    kept = overridden(kept, _acp() if layer is None else layer)
    argv = below.get("acp", {}).get("argv")
    return kept | ({"argv": argv} if argv else {})


def overridden(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The keys `above` over the keys `below`: mappings merge key by key, all else and what is in `WHOLE` is replaced.

    Neither is changed. Another format of the output replaces all rules about the one before.
    """
    merged = dict(below)
    told = above.get("output", {}).get("format")
    if told is not None and told != below.get("output", {}).get("format", "text"):
        merged["output"] = {}
        merged["success"] = {key: rule for key, rule in merged.get("success", {}).items() if not key.endswith("_event")}
        merged.pop("resume", None)
    for key, value in above.items():
        merged[key] = merged_value(merged.get(key), value, key)
    return merged


def merged_value(below: Any, above: Any, key: str = "") -> Any:
    """The value of a key of which `above` overrides `below`: mappings merge entry by entry, all else is `above`."""
    if key in WHOLE or not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: merged_value(below.get(key), value, key) for key, value in above.items()}
