"""Reading YAML from strangers: from text to a tree of values that know their line, within limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import yaml

from maestro.model.errors import Invalid
from maestro.printable_text import shown

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]{0,29})(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?")

Kind = Literal["null", "bool", "int", "float", "text", "list", "map"]
Path: TypeAlias = tuple[str | int, ...]


class Limits(msgspec.Struct, frozen=True):
    """The largest that one document may be. nodes_max: scalars, lists and mappings together."""

    bytes_max: int = 1024 * 1024
    depth_max: int = 24
    nodes_max: int = 50_000


LIMITS = Limits()


class Node(msgspec.Struct):
    """A value of a document. text: a scalar's text as written; items: a list's; entries: a mapping's.

    line, column: where it begins, from 1; key_lines, key_columns: where the keys of a mapping do. style: of a text,
    `|` and `>` for blocks, a quote, or "".
    """

    kind: Kind
    line: int
    text: str = ""
    items: list[Node] = []
    entries: dict[str, Node] = {}
    key_lines: dict[str, int] = {}
    key_columns: dict[str, int] = {}
    column: int = 1
    style: str = ""


class Spot(NamedTuple):
    """A place in a file, from 1."""

    line: int
    column: int


FIRST = Spot(1, 1)


class Unreadable(Invalid):
    """A text that is no plain data within the limits. spot: where that shows."""

    def __init__(self, what: str, place: str, spot: Spot, mend: str) -> None:
        super().__init__(what, f"{place}:{spot.line}", mend)
        self.spot = spot


class Document(msgspec.Struct):
    """The tree of one file. where: its path as the user knows it, for errors; source: its text."""

    root: Node
    where: str
    source: str = ""

    def invalid(self, path: Path, what: str, mend: str = "") -> Invalid:
        """An error at `path`: `file:line: a.b[0]: what; mend`. The line is the deepest one that exists."""
        label = path_text(path)
        where = f"{shown(self.where)}:{self.spot(path).line}"
        return Invalid(f"{label}: {what}" if label else what, where=where, mend=mend)

    def spot(self, path: Path) -> Spot:
        """Where the key or item at `path` begins, or the deepest one before it that exists."""
        node, found = self.root, Spot(self.root.line, self.root.column)
        for part in path:
            if isinstance(part, str):
                if part in node.key_lines:
                    found = Spot(node.key_lines[part], node.key_columns[part])
                child = node.entries.get(part)
            else:
                child = node.items[part] if part < len(node.items) else None
            if child is None:
                break
            node = child
            found = Spot(node.line, node.column) if isinstance(part, int) else found
        return found

    def node(self, path: Path) -> Node | None:
        """The value at `path`, None where there is none."""
        node: Node | None = self.root
        for part in path:
            if node is None:
                return None
            if isinstance(part, str):
                node = node.entries.get(part)
            else:
                node = node.items[part] if part < len(node.items) else None
        return node

    def spot_in(self, path: Path, offset: int) -> Spot:
        """Where a character of the text at `path` is in the file; of a folded text, where the text begins."""
        node = self.node(path)
        if node is None or node.kind in ("list", "map") or node.style == ">":
            return self.spot(path)
        line = node.text.count("\n", 0, offset)
        start = node.text.rfind("\n", 0, offset) + 1
        at = node.line + line + (node.style == "|")
        lines = self.source.splitlines()
        text = node.text[start:].partition("\n")[0]
        begin = lines[at - 1].find(text, node.column - 1 if at == node.line else 0) if at <= len(lines) else -1
        return self.spot(path) if begin < 0 else Spot(at, begin + offset - start + 1)


def path_text(path: Path) -> str:
    """The path of a value for people: `modes.list.argv[0]` for `("modes", "list", "argv", 0)`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else ("." if text else "") + shown(part, 60)
    return text


def read(text: str | bytes, where: str, limits: Limits = LIMITS) -> Document:
    """Read one YAML document. Raises Unreadable for anything but plain data within `limits`."""
    place = shown(where)
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = error.object[: error.start]
            spot = Spot(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
            raise Unreadable("is not UTF-8 text", place, spot, "save it as UTF-8") from None
    if len(text) > limits.bytes_max:
        raise Unreadable(f"is larger than {limits.bytes_max // 1024} KiB", place, FIRST, "make it smaller")
    try:
        root = _Builder(place, limits).build(yaml.parse(text, Loader=_Loader))
    except yaml.YAMLError as error:
        _refuse_beyond_limits(text, place, limits)
        raise _unreadable(error, place) from None
    except UnicodeEncodeError:
        raise Unreadable("holds characters that are no Unicode text", place, FIRST, "remove them") from None
    if root is None or root.kind == "null":
        raise Unreadable("is empty", place, FIRST, "write at least the required keys")
    return Document(root=root, where=where, source=text)


def _refuse_beyond_limits(text: str, place: str, limits: Limits) -> None:
    """Refuse a text that the fast parser gave up on before its events had shown a breach of `limits`.

    That parser reads up to 1,024 characters ahead of its events and has limits of its own, which differ from release to
    release; the slow one has none and tells each event in time. Raises Invalid where a limit of ours is broken.
    """
    with suppress(yaml.YAMLError):
        _Builder(place, limits).build(yaml.parse(text, Loader=yaml.SafeLoader))


def _unreadable(error: yaml.YAMLError, place: str) -> Unreadable:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    spot = Spot(mark.line + 1, mark.column + 1) if mark is not None else FIRST
    return Unreadable(f"is not valid YAML: {shown(str(problem))}", place, spot, _mend(str(problem)))


def _mend(problem: str) -> str:
    """What to write instead, where that is clear from what the parser says."""
    if "mapping values are not allowed" in problem:
        return "a text with a colon in it goes into quotes, or behind `|` on lines of its own"
    if "cannot start any token" in problem:
        return "indent by blanks, not tabs; a text that begins so goes into quotes"
    return "mend the syntax there"


class _Open(msgspec.Struct):
    """A list or mapping whose end has not come yet. key: the mapping's key that waits for its value."""

    node: Node
    key: str | None = None


class _Builder:
    """Folds parser events into nodes, without recursion."""

    def __init__(self, place: str, limits: Limits) -> None:
        self.place = place
        self.limits = limits
        self.open: list[_Open] = []
        self.root: Node | None = None
        self.count = 0
        self.documents = 0

    def build(self, events: Iterator[Any]) -> Node | None:
        for event in events:
            spot = Spot(event.start_mark.line + 1, event.start_mark.column + 1)
            if isinstance(event, yaml.DocumentStartEvent):
                self.documents += 1
                if self.documents > 1:
                    raise self._refusal(spot, "holds a second document", "keep one document a file")
            elif isinstance(event, yaml.CollectionEndEvent):
                self.open.pop()
            elif isinstance(event, yaml.NodeEvent):
                self._node(event, spot)
        return self.root

    def _node(self, event: Any, spot: Spot) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            name = shown(str(event.anchor), 40)
            raise self._refusal(spot, f"anchors and aliases ({name}) are not read", "write the value out")
        if getattr(event, "tag", None) is not None:
            raise self._refusal(spot, f"tags ({shown(str(event.tag), 40)}) are not read", "remove the tag")
        self.count += 1
        if self.count > self.limits.nodes_max:
            raise self._refusal(spot, f"holds more than {self.limits.nodes_max} values", "make it smaller")
        node = _new_node(event, spot.line)
        self._place(node, event)
        if node.kind in ("list", "map"):
            self.open.append(_Open(node))
            if len(self.open) > self.limits.depth_max:
                raise self._refusal(spot, f"is nested deeper than {self.limits.depth_max} levels", "make it flatter")

    def _place(self, node: Node, event: Any) -> None:
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if parent.node.kind == "list":
            parent.node.items.append(node)
        elif parent.key is None:
            self._key(parent, node, plain=_is_plain(event))
        else:
            parent.node.entries[parent.key] = node
            parent.key = None

    def _key(self, parent: _Open, node: Node, plain: bool) -> None:
        if node.kind in ("list", "map"):
            raise self._refusal(Spot(node.line, node.column), "a key must be plain text", "name it with a word")
        key = node.text
        if key == "<<" and plain:
            raise self._refusal(Spot(node.line, node.column), "merge keys (<<) are not read", "write the keys out")
        if key in parent.node.entries:
            first = parent.node.key_lines[key]
            mend = f"it is first on line {first}; keep one of them"
            raise self._refusal(Spot(node.line, node.column), f"key {shown(key, 60)} is there twice", mend)
        parent.node.key_lines[key] = node.line
        parent.node.key_columns[key] = node.column
        parent.node.entries[key] = node
        parent.key = key

    def _refusal(self, spot: Spot, what: str, mend: str) -> Unreadable:
        return Unreadable(what, self.place, spot, mend)


def _new_node(event: Any, line: int) -> Node:
    column = event.start_mark.column + 1
    if isinstance(event, yaml.SequenceStartEvent):
        return Node("list", line, column=column)
    if isinstance(event, yaml.MappingStartEvent):
        return Node("map", line, column=column)
    assert isinstance(event, yaml.ScalarEvent)
    kind = _plain_kind(event.value) if _is_plain(event) else "text"
    return Node(kind, line, text=event.value, column=column, style=event.style or "")


def _is_plain(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and bool(event.implicit[0])


def _plain_kind(text: str) -> Kind:
    """The kind of an unquoted scalar. Octal, sexagesimal, dates and the like stay text."""
    if text in _NULL:
        return "null"
    if text.lower() in _TRUE or text.lower() in _FALSE:
        return "bool"
    if _INT.fullmatch(text):
        return "int"
    return "float" if _FLOAT.fullmatch(text) else "text"


def truth(node: Node) -> bool:
    """The value of a node of kind `bool`."""
    return node.text.lower() in _TRUE
