"""The smallest instance of a schema fits it, for the keywords that it minds, and is small for all others."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from maestro.runtime.evaluation.smallest_instance import VALUES_MAX, smallest

NUMBERS = st.one_of(
    st.integers(-50, 50).map(lambda low: {"minimum": low}),
    st.integers(-50, 50).map(lambda high: {"maximum": high}),
    st.integers(-50, 50).map(lambda low: {"exclusiveMinimum": low}),
    st.integers(-50, 50).map(lambda high: {"exclusiveMaximum": high}),
    st.tuples(st.integers(-50, 50), st.integers(1, 9)).map(lambda two: {"minimum": two[0], "multipleOf": two[1]}),
    st.integers(-50, 50).map(lambda low: {"exclusiveMinimum": low, "maximum": low + 1}),
    st.just({}),
)
LEAVES = st.one_of(
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"const": [1]}, {"enum": ["long", "x", 3]}, {}, True]),
    st.tuples(st.sampled_from(["integer", "number"]), NUMBERS).map(lambda two: {"type": two[0], **two[1]}),
    st.integers(0, 9).map(lambda size: {"type": "string", "minLength": size, "maxLength": size + 3}),
    st.lists(st.sampled_from(["null", "string", "array", "object", "integer"]), min_size=1, unique=True).map(
        lambda kinds: {"type": kinds}
    ),
    st.just({"type": "string", "pattern": "^v[0-9]$", "examples": ["v1"]}),
)


def grown(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas around schemas."""
    names = st.sampled_from("abcd")
    return st.one_of(
        st.builds(
            lambda parts, needed, fewest: {
                "type": "object",
                "properties": parts,
                "required": needed,
                "minProperties": fewest,
            },
            st.dictionaries(names, below, max_size=3),
            st.lists(names, max_size=3, unique=True),
            st.integers(0, 4),
        ),
        st.builds(
            lambda firsts, rest, fewest: {"type": "array", "prefixItems": firsts, "items": rest, "minItems": fewest},
            st.lists(below, min_size=1, max_size=2),
            below,
            st.integers(0, 4),
        ),
        st.lists(below, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts}),
        below.map(lambda part: {"allOf": [part]}),
        below.map(lambda part: {"$ref": "#/$defs/x", "$defs": {"x": part}} if isinstance(part, dict) else part),
    )


@given(st.recursive(LEAVES, grown, max_leaves=8))
@settings(max_examples=200, deadline=None)
def test_it_fits_its_schema(schema: Any) -> None:
    schema = {"$defs": {"x": {"type": "integer", "minimum": 3}}, "allOf": [schema]}
    found = smallest(schema)
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(found)]
    assert not errors, (found, errors)


def test_the_examples_of_the_documents() -> None:
    approved = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}
    assert smallest(approved) == {"approved": False}
    assert smallest({"type": "array", "items": {"type": "string"}}) == []
    assert smallest({"allOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"const": 1}}}]}) == {
        "a": None,
        "b": 1,
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"type": "array", "minItems": 10**9, "items": {"$ref": "#"}},
        {"type": "string", "minLength": 10**12},
        {"type": "object", "minProperties": 10**9},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$ref": "http://elsewhere"},
        {"type": 5, "required": 3, "properties": [], "enum": []},
        {"type": "integer", "minimum": 1e308, "multipleOf": 1e-300},
        {"type": "number", "minimum": float("nan"), "maximum": float("inf")},
    ],
)
def test_no_schema_makes_it_large_or_endless(schema: Any) -> None:
    assert len(json.dumps(smallest(schema))) < 20 * VALUES_MAX
