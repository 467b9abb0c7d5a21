"""The published JSON Schema of the log: what an entry of the stream holds, for readers in any language."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.events import FACTS, VERSIONS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def events_schema() -> dict[str, Any]:
    """The schema of one event as `events tail` and `events export` print it; `data` depends on `type`.

    In the stream itself every field is text, `data` is JSON, and `seq` is the entry's id (`<seq>-0`).
    """
    shapes, definitions = msgspec.json.schema_components(FACTS.values(), ref_template="#/$defs/{name}")
    kinds = [
        {
            "properties": {"type": {"const": name}, "v": {"const": VERSIONS.get(name, 1)}, "data": shape},
        }
        for name, shape in zip(FACTS, shapes, strict=True)
    ]
    return {
        "$schema": DIALECT,
        "title": "Maestro event",
        "type": "object",
        "properties": {
            "seq": {"type": "integer", "minimum": 1, "description": "Position, id and version at once."},
            "type": {"enum": list(FACTS), "description": "Name of the fact."},
            "subject": {"type": "string", "description": "What it is about, as `task:<id>`."},
            "at": {"type": "string", "format": "date-time", "description": "Server time; ms since 1970 in the stream."},
            "actor": {"type": "string", "description": "Who appended it."},
            "cause": {"type": "string", "description": "The seq, or the command, that led to it."},
            "prev": {"type": "integer", "minimum": 0, "description": "Seq of the subject's event before, 0 for none."},
            "v": {"type": "integer", "minimum": 1, "description": "Version of the fact's shape."},
            "data": {"type": "object", "description": "The fact."},
            "chain": {"type": "string", "pattern": "^[0-9a-f]{40}$", "description": "SHA-1 over all up to here."},
        },
        "required": ["seq", "type", "subject", "at", "actor", "cause", "data"],
        "oneOf": kinds,
        "$defs": definitions,
    }
