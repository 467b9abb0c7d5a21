"""Conversion of a document's tree to plain data for a struct, which is its schema.

Unknown keys, wrong types and missing keys are refused with their place and remedy. Text fields want text (a bare `yes`
or `5` needs quotes), but the values of a mapping to text (`env`) are taken as written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import inspect

from maestro.documents.yaml_tree import Document, Node, Path, truth
from maestro.model.duration import duration_forms, duration_ms
from maestro.model.ids import nearest
from maestro.printable_text import shown

NAMED_MAX = 40
SECONDS = "_s"
"""How the name of a key ends whose value is a number of seconds, or a duration."""
_FOUND = {"null": "nothing", "bool": "true/false", "int": "a number", "float": "a number", "text": "text"}


def fit(document: Document, schema: type[msgspec.Struct]) -> dict[str, Any]:
    """The document as plain data that `msgspec.convert` takes for `schema`: only the keys that are written.

    Raises `Invalid` at the first value that does not fit.
    """
    kind = inspect.type_info(schema)
    assert isinstance(kind, inspect.StructType)
    found: dict[str, Any] = _Fitting(document).struct(document.root, kind, ())
    return found


def suggestion(word: str, known: Iterable[str]) -> str:
    """A hint on a misspelt word: `did you mean 'x'?`, or the list of the words that are known."""
    names = sorted(known)
    near = nearest(word, names)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return "known: " + ", ".join(shown(name, 40) for name in names[:NAMED_MAX]) + more if names else ""


class _Fitting:
    """Converts the values of one document."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def struct(self, node: Node, kind: inspect.StructType, path: Path) -> dict[str, Any]:
        if node.kind != "map":
            raise self._wrong(node, "a mapping of keys", path)
        fields = {field.encode_name: field for field in kind.fields}
        found: dict[str, Any] = {}
        for key, child in node.entries.items():
            if key not in fields:
                raise self.document.invalid((*path, key), "is not a known key", suggestion(key, fields))
            found[key] = self._field(child, fields[key], (*path, key))
        for name, field in fields.items():
            if field.required and name not in found:
                raise self.document.invalid(path, f"key {name!r} is missing", f"add `{name}: …`")
        return found

    def _field(self, node: Node, field: inspect.Field, path: Path) -> Any:
        """The value of a key; a text where seconds are wanted is a duration, such as `10m`."""
        if not (field.encode_name.endswith(SECONDS) and node.kind == "text"):
            return self.value(node, field.type, path)
        found = duration_ms(node.text)
        if found is None:
            raise self.document.invalid(path, f"is text ({shown(node.text, 60)}), not a duration", duration_forms())
        return found / 1000

    def value(self, node: Node, kind: inspect.Type, path: Path) -> Any:
        options = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        for option in options:
            accepts = _ACCEPTS.get(type(option))
            if accepts is not None and accepts(node):
                return self._convert(node, option, path)
        raise self._wrong(node, " or ".join(_wanted(option) for option in options), path)

    def _convert(self, node: Node, kind: inspect.Type, path: Path) -> Any:
        match kind:
            case inspect.StructType():
                return self.struct(node, kind, path)
            case inspect.VarTupleType():
                items = enumerate(node.items)
                return [self.value(child, kind.item_type, (*path, at)) for at, child in items]
            case inspect.DictType():
                return {key: self._entry(child, kind.value_type, (*path, key)) for key, child in node.entries.items()}
            case inspect.LiteralType():
                if node.text not in kind.values:
                    raise self._wrong(node, _wanted(kind), path)
                return node.text
            case inspect.StrType():
                if "\0" in node.text:
                    raise self.document.invalid(path, "holds a NUL character", "remove it")
                return node.text
            case inspect.IntType():
                return int(node.text)
            case inspect.FloatType():
                return float(node.text)
            case inspect.BoolType():
                return truth(node)
        return None

    def _entry(self, node: Node, kind: inspect.Type, path: Path) -> Any:
        """A value in a mapping: where text is wanted, a scalar is taken as it is written, also in a list of texts."""
        options = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        if any(isinstance(option, inspect.StrType) for option in options) and node.kind in ("bool", "int", "float"):
            return node.text
        for option in options:
            if isinstance(option, inspect.VarTupleType) and node.kind == "list":
                return [self._entry(child, option.item_type, (*path, at)) for at, child in enumerate(node.items)]
        return self.value(node, kind, path)

    def _wrong(self, node: Node, wanted: str, path: Path) -> Exception:
        found = _FOUND.get(node.kind, "a list" if node.kind == "list" else "a mapping")
        if node.kind not in ("list", "map", "null"):
            found = f"{found} ({shown(node.text, 60)})"
        scalar_for_text = "text" in wanted.split() and node.kind in ("bool", "int", "float")
        return self.document.invalid(path, f"is {found}, not {wanted}", "put it in quotes" if scalar_for_text else "")


def _wanted(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(str(value) for value in kind.values)
    return _NAMES.get(type(kind), "a value")


_NAMES: dict[type[inspect.Type], str] = {
    inspect.StructType: "a mapping of keys",
    inspect.DictType: "a mapping of names",
    inspect.VarTupleType: "a list",
    inspect.StrType: "text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.NoneType: "nothing",
}

_ACCEPTS: dict[type[inspect.Type], Callable[[Node], bool]] = {
    inspect.StructType: lambda node: node.kind == "map",
    inspect.DictType: lambda node: node.kind == "map",
    inspect.VarTupleType: lambda node: node.kind == "list",
    inspect.StrType: lambda node: node.kind == "text",
    inspect.LiteralType: lambda node: node.kind not in ("list", "map", "null"),
    inspect.IntType: lambda node: node.kind == "int",
    inspect.FloatType: lambda node: node.kind in ("int", "float"),
    inspect.BoolType: lambda node: node.kind == "bool",
    inspect.NoneType: lambda node: node.kind == "null",
}
