"""The built-in adapters: how each known program is driven, and how a definition overrides it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from maestro.agents.checks import check_keys
from maestro.agents.documents import read
from maestro.agents.fitting import fit
from maestro.agents.schema import AdapterDocument

_FOLDER = Path(__file__).parent / "builtin"


def names() -> tuple[str, ...]:
    """The adapters there are, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


@cache
def adapter(name: str) -> dict[str, Any]:
    """The adapter's keys as plain data, `older` included. `name` is one of `names()`. Not to be changed."""
    file = _FOLDER / f"{name}.yaml"
    document = read(file.read_bytes(), str(file))
    keys = fit(document, AdapterDocument)
    check_keys(document, keys)
    del keys["name"]
    return keys


def overridden(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`: mappings key by key, everything else replaced whole. Neither is changed."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = overridden(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
