"""JSON Schemas of answers, checked before a run needs them: by the meta-schema of draft 2020-12, and for what a run
could not do with them (a reference that leads out or nowhere, a pattern that cannot be compiled).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from maestro.model.ids import nearest
from maestro.model.workflow.checks import Finding, Path, near
from maestro.model.workflow.definition import Workflow
from maestro.printable_text import shown

DRAFT = "https://json-schema.org/draft/2020-12/schema"
VALUES_MAX = 2_000
PATTERN_CHARS_MAX = 1_000
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_ONE = (
    "additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else", "unevaluatedItems",
    "unevaluatedProperties", "contentSchema",
)  # fmt: skip
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs", "dependentSchemas", "definitions")
KEYWORDS = frozenset(
    (
        *_ONE, *_LISTS, *_MAPS, "$schema", "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$comment",
        "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
        "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains",
        "maxProperties", "minProperties", "required", "dependentRequired", "format", "title", "description",
        "default", "deprecated", "readOnly", "writeOnly", "examples", "contentEncoding", "contentMediaType",
    )
)  # fmt: skip
_LIKE = 0.75
"""How much an unknown keyword must be like a known one to be taken for a slip: others are annotations."""


def schema_findings(workflow: Workflow) -> Iterator[Finding]:
    """What is wrong with the schemas of a definition's steps."""
    for at, step in enumerate(workflow.steps):
        if step.answer_schema is not None:
            yield from _findings(step.answer_schema, ("steps", at, "schema"))


def _findings(schema: dict[str, Any], path: Path) -> Iterator[Finding]:
    if _values(schema, VALUES_MAX) > VALUES_MAX:
        yield Finding(path, f"holds more than {VALUES_MAX} values", "make the schema smaller")
        return
    dialect = schema.get("$schema", DRAFT)
    if isinstance(dialect, str) and dialect.rstrip("#") != DRAFT:
        mend = f"remove it, or write `{DRAFT}`"
        yield Finding((*path, "$schema"), "is not draft 2020-12, which is the one known here", mend)
        return
    from jsonschema import Draft202012Validator  # takes as long as half a daemon's start

    for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
        inside = tuple(error.absolute_path)
        what, mend = _told(inside[-1] if inside else "", error.instance, error.message)
        yield Finding((*path, *inside), what, mend)
    for inside, part in _schemas(schema):
        yield from _unusable(schema, part, (*path, *inside))


def _told(key: str | int, value: Any, message: str) -> tuple[str, str]:
    """What the meta-schema says of a value, in our words."""
    if key == "type" and isinstance(value, str):
        return f"`{value[:60]}` is no type", near(value[:60], TYPES)
    return f"is no JSON Schema (draft 2020-12): {shown(message)}", ""


def _unusable(whole: dict[str, Any], part: dict[str, Any], path: Path) -> Iterator[Finding]:
    """What a run could not do with one schema."""
    for key in part:
        like = nearest(key, KEYWORDS, _LIKE) if key not in KEYWORDS and len(key) <= 60 else []
        if like:
            yield Finding((*path, key), f"`{key}` is no keyword of JSON Schema", f"did you mean `{like[0]}`?")
    for key in ("$ref", "$dynamicRef"):
        reference = part.get(key)
        if isinstance(reference, str) and not _leads(whole, reference):
            what = f"`{reference[:60]}` leads {'nowhere' if reference.startswith('#') else 'out of the schema'}"
            yield Finding((*path, key), what, "refer to a part of this schema, as `#/$defs/name`")
    for key in ("$id", "$anchor", "$dynamicAnchor"):
        if key in part:
            yield Finding((*path, key), "is not for schemas here", "refer to a part by its path, as `#/$defs/name`")
    patterns = [((*path, "pattern"), part.get("pattern"))]
    named = part.get("patternProperties")
    patterns += [((*path, "patternProperties", str(one)), one) for one in named] if isinstance(named, dict) else []
    for where, pattern in patterns:
        if isinstance(pattern, str) and (why := _no_pattern(pattern)):
            yield Finding(where, why, "write a regular expression")


def _no_pattern(pattern: str) -> str:
    """Why a text is no pattern, "" where it is one."""
    if len(pattern) > PATTERN_CHARS_MAX:
        return f"is longer than {PATTERN_CHARS_MAX} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is no pattern: {shown(str(error))}"
    return ""


def _leads(whole: Any, reference: str) -> bool:
    """Whether a reference leads to a schema within this one, and not back to itself."""
    seen: set[str] = set()
    while reference not in seen:
        seen.add(reference)
        if reference != "#" and not reference.startswith("#/"):
            return False
        at = whole
        for name in reference.split("/")[1:]:
            key = unquote(name).replace("~1", "/").replace("~0", "~")
            if isinstance(at, list):
                at = at[int(key)] if key.isascii() and key.isdigit() and len(key) < 6 and int(key) < len(at) else None
            else:
                at = at.get(key) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            return isinstance(at, bool)
        following = at.get("$ref")
        if not isinstance(following, str):
            return True
        reference = following
    return False


def _schemas(schema: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each schema in a schema with its path, the whole first."""
    waiting: list[tuple[Path, Any]] = [((), schema)]
    while waiting:
        path, part = waiting.pop()
        if not isinstance(part, dict):
            continue
        yield path, part
        below: list[tuple[Path, Any]] = [((*path, key), part.get(key)) for key in _ONE]
        for key in _LISTS:
            if isinstance(listed := part.get(key), list):
                below += [((*path, key, at), one) for at, one in enumerate(listed)]
        for key in _MAPS:
            if isinstance(named := part.get(key), dict):
                below += [((*path, key, name), one) for name, one in named.items()]
        waiting += reversed(below)


def _values(data: Any, limit: int) -> int:
    """How many values there are, counted up to a little above the limit."""
    count, waiting = 0, [data]
    while waiting and count <= limit:
        one = waiting.pop()
        count += 1
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return count
