"""Conversion of a document's tree to plain data for a struct, which is its schema.

Unknown keys, wrong types and missing keys are refused with their place and remedy. Text fields want text (a bare `yes`
or `5` needs quotes), but the values of a mapping to text (`env`) are taken as written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from maestro.documents.yaml_tree import Document, Node, Path, path_text, truth
from maestro.model.duration import duration_forms, duration_ms
from maestro.model.ids import nearest
from maestro.printable_text import shown

NAMED_MAX = 40
SECONDS = "_s"
"""How the name of a key ends whose value is a number of seconds, or a duration."""
_FOUND = {"null": "nothing", "bool": "true/false", "int": "a number", "float": "a number", "text": "text"}


class Misfit(NamedTuple):
    """A value that does not fit. path: where it is; mend: what to write instead; key: one that is missing there."""

    path: Path
    what: str
    mend: str = ""
    key: str = ""


def fit(document: Document, schema: type[msgspec.Struct]) -> dict[str, Any]:
    """The document as plain data that `msgspec.convert` takes for `schema`: only the keys that are written.

    Raises `Invalid` at the first value that does not fit, which tells of the others, too.
    """
    found, misfits = fitted(document, schema)
    if misfits:
        first, *others = misfits
        also = [f"line {document.spot(one.path).line}: {_words(one)}" for one in others[:ALSO_MAX]]
        also += [f"{len(others) - ALSO_MAX} more"] if len(others) > ALSO_MAX else []
        mend = "; ".join(part for part in (first.mend, f"also {', '.join(also)}" if also else "") if part)
        raise document.invalid(first.path, first.what, mend)
    return found


def _words(misfit: Misfit) -> str:
    label = path_text(misfit.path)
    return f"{label}: {misfit.what}" if label else misfit.what


def fitted(
    document: Document, schema: type[msgspec.Struct], durations: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], list[Misfit]]:
    """What fits of a document, as plain data, and all that does not, which is left out of it.

    durations: the keys, beside those that end in `_s`, whose values are seconds or durations.
    """
    kind = inspect.type_info(schema)
    assert isinstance(kind, inspect.StructType)
    fitting = _Fitting(durations)
    found = fitting.struct(document.root, kind, ())
    return ({} if found is NOTHING else found), fitting.misfits


_EMPTY: dict[type[inspect.Type], Any] = {inspect.IntType: 1, inspect.VarTupleType: []}
"""What stands for a required key that is missing, by type, so that all else can be checked; else an empty text."""

ALSO_MAX = 5
"""So many further values that do not fit are told beside the first."""

NOTHING: Any = object()
"""What stands for a value that does not fit."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """A hint on a misspelt word: `did you mean 'x'?`, or the list of the words that are known."""
    names = sorted(known)
    near = nearest(word, names)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return "known: " + ", ".join(shown(name, 40) for name in names[:NAMED_MAX]) + more if names else ""


class _Fitting:
    """Converts the values of one document, and gathers those that do not fit."""

    def __init__(self, durations: frozenset[str]) -> None:
        self.misfits: list[Misfit] = []
        self._durations = durations

    def struct(self, node: Node, kind: inspect.StructType, path: Path) -> Any:
        if node.kind != "map":
            return self._wrong(node, "a mapping of keys", path)
        fields = {field.encode_name: field for field in kind.fields}
        found: dict[str, Any] = {}
        for key, child in node.entries.items():
            if key not in fields:
                self._misfit((*path, key), "is not a known key", suggestion(key, fields))
            elif (value := self._field(child, fields[key], (*path, key))) is not NOTHING:
                found[key] = value
        for name, field in fields.items():
            if field.required and name not in node.entries:
                self.misfits.append(Misfit(path, f"key {name!r} is missing", f"add `{name}: …`", name))
                found[name] = _EMPTY.get(type(field.type), "")
        return found

    def _field(self, node: Node, field: inspect.Field, path: Path) -> Any:
        """The value of a key; a text where seconds are wanted is a duration, such as `10m`."""
        name = field.encode_name
        if not (node.kind == "text" and (name.endswith(SECONDS) or name in self._durations)):
            return self.value(node, field.type, path)
        found = duration_ms(node.text)
        if found is None:
            return self._misfit(path, f"is text ({shown(node.text, 60)}), not a duration", duration_forms())
        return found / 1000

    def value(self, node: Node, kind: inspect.Type, path: Path) -> Any:
        options = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        for option in options:
            accepts = _ACCEPTS.get(type(option))
            if accepts is not None and accepts(node):
                return self._convert(node, option, path)
        return self._wrong(node, " or ".join(_wanted(option) for option in options), path)

    def _convert(self, node: Node, kind: inspect.Type, path: Path) -> Any:
        match kind:
            case inspect.AnyType():
                return data(node)
            case inspect.StructType():
                return self.struct(node, kind, path)
            case inspect.VarTupleType():
                items = [self.value(child, kind.item_type, (*path, at)) for at, child in enumerate(node.items)]
                return [item for item in items if item is not NOTHING]
            case inspect.DictType():
                entries = {
                    key: self._entry(child, kind.value_type, (*path, key)) for key, child in node.entries.items()
                }
                return {key: value for key, value in entries.items() if value is not NOTHING}
            case inspect.LiteralType() if node.text not in kind.values:
                return self._wrong(node, _wanted(kind), path)
            case inspect.StrType() if "\0" in node.text:
                return self._misfit(path, "holds a NUL character", "remove it")
        return data(node) if isinstance(kind, (inspect.IntType, inspect.FloatType, inspect.BoolType)) else _text(node)

    def _entry(self, node: Node, kind: inspect.Type, path: Path) -> Any:
        """A value in a mapping: where text is wanted, a scalar is taken as it is written, also in a list of texts."""
        options = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
        if any(isinstance(option, inspect.StrType) for option in options) and node.kind in ("bool", "int", "float"):
            return node.text
        for option in options:
            if isinstance(option, inspect.VarTupleType) and node.kind == "list":
                items = [self._entry(child, option.item_type, (*path, at)) for at, child in enumerate(node.items)]
                return [item for item in items if item is not NOTHING]
        return self.value(node, kind, path)

    def _wrong(self, node: Node, wanted: str, path: Path) -> Any:
        found = _FOUND.get(node.kind, "a list" if node.kind == "list" else "a mapping")
        if node.kind not in ("list", "map", "null"):
            found = f"{found} ({shown(node.text, 60)})"
        scalar_for_text = "text" in wanted.split() and node.kind in ("bool", "int", "float")
        return self._misfit(path, f"is {found}, not {wanted}", "put it in quotes" if scalar_for_text else "")

    def _misfit(self, path: Path, what: str, mend: str = "") -> Any:
        self.misfits.append(Misfit(path, what, mend))
        return NOTHING


def data(node: Node) -> Any:
    """The plain data of a value, as it is written: JSON's kinds."""
    match node.kind:
        case "map":
            return {key: data(value) for key, value in node.entries.items()}
        case "list":
            return [data(item) for item in node.items]
        case "int":
            return int(node.text)
        case "float":
            return float(node.text)
        case "bool":
            return truth(node)
    return _text(node)


def _text(node: Node) -> str | None:
    return None if node.kind == "null" else node.text


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
    inspect.AnyType: lambda _: True,
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
