"""The smallest instance of a JSON Schema, with which a stand-in answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

VALUES_MAX = 10_000
DEPTH_MAX = 64
_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")


def smallest(schema: Any) -> Any:
    """The smallest instance of a schema: for most keywords one that is valid; null where nothing small is.

    `pattern`, `format`, `not`, `if`, `uniqueItems`, `contains`, `dependentRequired`, what stands beside `anyOf` and
    `oneOf` against their first part, and what is larger than VALUES_MAX are not minded. An example of a text with a
    pattern is taken from `default` or `examples`.
    """
    return _Instance(schema).of(schema, 0)


class _Instance:
    """One instance in the making. left: how many values it may still get."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole
        self._left = VALUES_MAX

    def of(self, schema: Any, depth: int) -> Any:
        """The smallest instance of a part of the schema."""
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > DEPTH_MAX or self._left < 0:
            return None
        schema = self._merged(schema, depth)
        for key in ("enum", "examples"):
            values = schema.get(key)
            if isinstance(values, list) and values and (key == "enum" or "pattern" in schema):
                return min(values, key=_size) if key == "enum" else values[0]
        if "const" in schema:
            return schema["const"]
        if "default" in schema and "pattern" in schema:
            return schema["default"]
        return self._of_type(_type(schema), schema, depth)

    def _of_type(self, kind: str, schema: Mapping[str, Any], depth: int) -> Any:
        match kind:
            case "boolean":
                return False
            case "integer" | "number":
                return _number(schema, kind == "integer")
            case "string":
                return "x" * min(VALUES_MAX, _count(schema, "minLength"))
            case "array":
                return self._array(schema, depth)
            case "object":
                return self._object(schema, depth)
        return None

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        firsts = schema.get("prefixItems")
        firsts = firsts if isinstance(firsts, list) else []
        found: list[Any] = []
        while len(found) < _count(schema, "minItems") and self._left > 0:
            found.append(self.of(firsts[len(found)] if len(found) < len(firsts) else schema.get("items"), depth + 1))
        return found

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        parts = schema.get("properties")
        parts = parts if isinstance(parts, Mapping) else {}
        wanted = schema.get("required")
        names = [name for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []
        others = schema.get("additionalProperties")
        fewest = _count(schema, "minProperties")
        names = list(dict.fromkeys(names))
        names += [name for name in parts if name not in names][: max(0, fewest - len(names))]
        found = {name: self.of(parts.get(name, others), depth + 1) for name in names[:VALUES_MAX] if self._left > 0}
        while len(found) < fewest and self._left > 0:
            found[f"x{len(found)}"] = self.of(others, depth + 1)
        return found

    def _merged(self, schema: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
        """The schema with what it refers to, all of `allOf`, and the first of `anyOf` and `oneOf` in it."""
        reference = schema.get("$ref")
        parts: list[Any] = [self._at(reference)] if isinstance(reference, str) else []
        for key, many in (("allOf", True), ("anyOf", False), ("oneOf", False)):
            listed = schema.get(key)
            if isinstance(listed, list):
                parts += listed if many else listed[:1]
        found = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
        for part in parts:
            self._left -= 1
            if isinstance(part, Mapping) and depth < DEPTH_MAX and self._left > 0:
                found = _both(found, self._merged(part, depth + 1))
        return found

    def _at(self, reference: str) -> Any:
        at = self._whole
        for name in reference.split("/")[1:] if reference.startswith("#") else [""]:
            key = name.replace("~1", "/").replace("~0", "~")
            if isinstance(at, list) and key.isascii() and key.isdigit() and int(key) < len(at):
                at = at[int(key)]
            else:
                at = at.get(key) if isinstance(at, Mapping) else None
        return at


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that asks for what both ask for, as far as this needs it."""
    found = {**other, **one}
    for key in ("required", "enum", "type"):
        if key in one and key in other:
            found[key] = _met(key, one[key], other[key])
    for key in ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"):
        if _is_number(one.get(key)) and _is_number(other.get(key)):
            found[key] = max(one[key], other[key])
    for key in ("maximum", "exclusiveMaximum"):
        if _is_number(one.get(key)) and _is_number(other.get(key)):
            found[key] = min(one[key], other[key])
    if isinstance(one.get("properties"), Mapping) and isinstance(other.get("properties"), Mapping):
        first, second = one["properties"], other["properties"]
        shared = {name: {"allOf": [first[name], second[name]]} for name in first if name in second}
        found["properties"] = {**second, **first, **shared}
    return found


def _met(key: str, one: Any, other: Any) -> Any:
    if key == "required":
        return [*one, *other] if isinstance(one, list) and isinstance(other, list) else one
    first, second = ([each] if isinstance(each, str) else each for each in (one, other))
    if not isinstance(first, list) or not isinstance(second, list):
        return one
    both = [each for each in first if each in second]
    if key == "type" and not both and {"integer", "number"} <= {*first, *second}:
        both = ["integer"]
    return both or one


def _type(schema: Mapping[str, Any]) -> str:
    """The type of the smallest instance; where none is named, the one that the keywords are for."""
    named = schema.get("type")
    if isinstance(named, str):
        return named
    if isinstance(named, list):
        return next((kind for kind in _TYPES if kind in named), "null")
    if any(key in schema for key in ("properties", "required", "minProperties")):
        return "object"
    if any(key in schema for key in ("items", "prefixItems", "minItems")):
        return "array"
    if any(key in schema for key in ("minLength", "maxLength", "pattern")):
        return "string"
    if any(key in schema for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")):
        return "number"
    return "null"


def _number(schema: Mapping[str, Any], whole: bool) -> int | float:
    """The number nearest to 0 that is allowed."""
    least, above = _bound(schema, "minimum", "exclusiveMinimum", max)
    most, below = _bound(schema, "maximum", "exclusiveMaximum", min)
    step = schema.get("multipleOf")
    unit: int | float = step if isinstance(step, (int, float)) and _is_number(step) and step > 0 else 1
    if whole and unit != int(unit):
        unit = unit * round(1 / unit) if 0 < unit < 1 else unit
    if not (least > 0 or (above and least >= 0) or most < 0 or (below and most <= 0)):
        return 0
    if least > 0 or (above and least >= 0):
        count = math.ceil(least / unit)
        found = (count + 1 if above and count * unit <= least else count) * unit
    else:
        count = math.floor(most / unit)
        found = (count - 1 if below and count * unit >= most else count) * unit
    inside = least <= found <= most and not (above and found == least) and not (below and found == most)
    if not inside and not whole and not _is_number(step):
        found = (least + most) / 2
    return int(found) if whole or found == int(found) else found


def _bound(schema: Mapping[str, Any], name: str, strict: str, pick: Any) -> tuple[float, bool]:
    """The bound of numbers, and whether it is not allowed itself."""
    nothing = -math.inf if pick is max else math.inf
    plain, exclusive = (schema.get(key) if _is_number(schema.get(key)) else nothing for key in (name, strict))
    bound = pick(plain, exclusive)
    return bound, bound == exclusive and abs(bound) != math.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _count(schema: Mapping[str, Any], key: str) -> int:
    value = schema.get(key)
    return max(0, int(value)) if _is_number(value) else 0  # type: ignore[arg-type]


def _size(value: Any) -> int:
    return len(repr(value))
