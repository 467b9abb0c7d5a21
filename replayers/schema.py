"""The published schema: JSON Schema of a stream entry and of each fact's data."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.events import FACTS, VERSIONS, Unrecognised

ENTRY: dict[str, dict[str, Any]] = {
    "type": {"type": "string", "description": "the fact's name; names are for ever"},
    "subject": {"type": "string", "description": "whom it concerns, such as task:<id>"},
    "at": {"type": "integer", "description": "server time, ms since the epoch, never going back"},
    "actor": {"type": "string", "description": "who appended it"},
    "cause": {"type": "string", "description": "the command or the position that led to it"},
    "prev": {"type": "integer", "description": "the subject's version before it: a position, 0 for none"},
    "v": {"type": "integer", "minimum": 1, "description": "the version of the data's shape"},
    "data": {"description": "what the fact says, by its type"},
    "chain": {
        "type": "string",
        "pattern": "^[0-9a-f]{40}$",
        "description": "SHA-1 over the previous chain and each field before this one, each as <length>:<value>",
    },
}


def schema() -> dict[str, Any]:
    """The schema as one document: an entry, with its data by its type. In the stream every field is text, `data` is
    JSON.
    """
    facts = {name: fact for name, fact in FACTS.items() if fact is not Unrecognised}
    references, definitions = msgspec.json.schema_components(facts.values(), ref_template="#/$defs/{name}")
    by_type = [
        {
            "if": {"properties": {"type": {"const": name}, "v": {"const": VERSIONS.get(name, 1)}}},
            "then": {"properties": {"data": reference}},
        }
        for name, reference in zip(facts, references, strict=True)
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An entry of Maestro's log",
        "description": "Its id in the stream is <position>-0. Positions begin at 1 and have no gaps.",
        "type": "object",
        "properties": ENTRY,
        "required": list(ENTRY),
        "allOf": by_type,
        "$defs": definitions,
    }
