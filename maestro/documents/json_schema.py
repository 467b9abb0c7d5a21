"""The JSON Schema of documents, for editors that complete and check YAML by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from maestro.documents.conversion import SECONDS


def json_schema(document: type[msgspec.Struct], title: str, durations: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The schema of what `conversion.fit` takes for a struct. durations: as `conversion.fitted` has it."""
    schema = msgspec.json.schema(document)
    scalars = {"type": ["string", "number", "boolean"]}
    for part in schema["$defs"].values():
        part.pop("title", None)
        part["additionalProperties"] = False
        for name, property in part["properties"].items():
            if name.endswith(SECONDS) or name in durations:
                _with_text(property)
        for option in _options(part["properties"]):
            if option.get("additionalProperties") == {"type": "string"}:
                option["additionalProperties"] = scalars  # values of such a mapping are taken as they are written
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def _with_text(property: dict[str, Any]) -> None:
    """Let a number of seconds be a duration such as `10m`, too."""
    options = property.pop("anyOf", None) or [{"type": property.pop("type")}]
    property["anyOf"] = [*options, {"type": "string"}]


def _options(properties: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each form that a key may have."""
    for kind in properties.values():
        yield kind
        yield from kind.get("anyOf", ())
