"""Templates of workflow definitions: jinja2's sandbox, strict about what is undefined, over plain data only.

Three kinds. A *text* (a prompt) is rendered to text. A *script* (`run`, `verify`) is rendered to shell text in which
each value is one quoted word. An *expression* (`when`, `until`, `for_each`) is evaluated to a value, never rendered and
read again. `a.b` on a mapping is its key, and nothing else: no attribute of Python's can be reached. What a template
reads is known before it is rendered, so that errors have their place and the event can hold what was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from maestro.model.errors import Invalid
from maestro.model.workflow.checking.shell_context import VALUE, marked_words, misplaced, misplaced_values

Kind = Literal["text", "script", "expression"]
RESULT_MAX = 1 << 20
"""Bytes that a rendered text or value may have."""

ROOTS = ("vars", "state", "steps", "previous", "item", "index", "round", "run")
"""The names that a template may read."""

_FORBIDDEN: tuple[type[nodes.Node], ...] = (
    nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends, nodes.Block, nodes.Macro, nodes.CallBlock,
    nodes.FilterBlock, nodes.AssignBlock,
)  # fmt: skip
_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
_PART = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_RAW = re.compile(r"\|\s*raw\s*-?\}\}$")


class Problem(NamedTuple):
    """What is wrong with a template. offset: where in its text; mend: what to write instead, "" where that is clear."""

    offset: int
    what: str
    mend: str = ""


class Read(NamedTuple):
    """A value that a template reads: the root, and the constant keys behind it, as far as they are constant."""

    root: str
    keys: tuple[str | int, ...] = ()
    offset: int = 0


class TemplateFailed(Invalid):
    """A template could not be rendered: something is undefined, of another type, or too large."""

    code = "template"


class Empty(dict[str, Any]):
    """The JSON of a step that was skipped, or has not been there yet: each key of it is empty, too; as text it is none.

    It is false, has no items, and cannot be told from "" and from {}.
    """

    def __eq__(self, other: object) -> bool:
        return other in ("", {}) or other is None

    __hash__ = None


EMPTY = Empty()


class Raw(str):
    """A text that a script takes as it is: its author said so by `| raw`."""


def words(value: Any) -> str:
    """A value as shell text between marks: quoted words. Raises ValueError for a NUL character."""
    if isinstance(value, jinja2.Undefined):
        value._fail_with_undefined_error()
    if isinstance(value, Raw):
        return plain(value)
    return marked_words(map(plain, value if isinstance(value, (list, tuple, Iterator)) else [value]))


def plain(value: Any) -> str:
    """A value as text: texts as they are, all else as JSON. Raises ValueError for a NUL character."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("holds a NUL character")
        return value
    import msgspec

    if isinstance(value, Iterator):  # of filters: map, select
        value = list(value)
    return "" if value is None or isinstance(value, Empty) else msgspec.json.encode(value).decode()


def _range(*bounds: int) -> list[int]:
    """Numbers as a list, so that they are a value as any other. Raises OverflowError for too many."""
    return list(jinja2.sandbox.safe_range(*bounds))


class _Sandbox(ImmutableSandboxedEnvironment):
    """jinja2's sandbox without attributes, calls of methods, and globals."""

    def __init__(self, finalize: Any) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined, finalize=finalize, autoescape=False, keep_trailing_newline=True,
            optimized=False,  # else a constant that is too large would be computed where a definition is only read
        )  # fmt: skip
        self.globals.clear()
        self.globals["range"] = _range
        self.filters["raw"] = Raw
        for name in ("attr", "xmlattr", "urlize", "random", "pprint"):
            self.filters.pop(name, None)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The key of a mapping."""
        return self._key(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """The key of a mapping, the item of a list, the character of a text; slices of these."""
        return self._key(obj, argument)

    def _key(self, obj: Any, key: Any) -> Any:
        if isinstance(obj, jinja2.runtime.LoopContext) and key in _LOOP:
            return getattr(obj, key)
        if isinstance(obj, (Empty, jinja2.Undefined)):
            return obj  # what says why there is nothing stays so, whatever is read of it
        if isinstance(obj, Mapping):
            if key in obj:
                return obj[key]
        elif isinstance(obj, (list, tuple, str)) and isinstance(key, (int, slice)):
            try:
                return obj[key]
            except IndexError:
                pass
        return self.undefined(obj=obj, name=key)

    def is_safe_callable(self, obj: Any) -> bool:
        """Only `range` and the tests and filters of jinja2, which are no calls, are called."""
        return obj is _range


@cache
def _sandbox(kind: Kind) -> _Sandbox:
    return _Sandbox(words if kind == "script" else _shown if kind == "text" else None)


def _shown(value: Any) -> Any:
    """A value in a text: undefined ones stay, so that they are refused."""
    return value if isinstance(value, jinja2.Undefined) else plain(value)


class Template:
    """A template that was read: its problems, what it reads, and its rendering. Never raises when it is made."""

    def __init__(self, text: str, kind: Kind = "text") -> None:
        self.text = text
        self.kind: Kind = kind
        self.problems: list[Problem] = []
        self.reads: list[Read] = []
        self._braces = text.strip()
        if kind == "expression" and self._braces.startswith("{{") and self._braces.endswith("}}"):
            self._source = self._braces[2:-2]
        else:
            self._source = text
        self._read()

    def _read(self) -> None:
        sandbox = _sandbox(self.kind)
        try:
            whole = "{{" + self._source + "}}" if self.kind == "expression" else self._source
            tree = sandbox.parse(whole)
            if self.kind == "expression" and (
                len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output) or len(tree.body[0].nodes) != 1
            ):
                raise jinja2.TemplateSyntaxError("is no single expression", 1)
            sandbox.compile(tree)
        except jinja2.TemplateSyntaxError as error:
            is_count = "comment tag" in (error.message or "") and "${#" in self.text
            mend = "in a template `{#` begins a comment: {% raw %}${#x}{% endraw %}" if is_count else ""
            self.problems.append(Problem(self._offset(error.lineno), f"bad template: {error.message}", mend))
            return
        except RecursionError:
            self.problems.append(Problem(0, "is nested too deeply", "make it simpler"))
            return
        self._check(tree)
        if self.kind == "script":
            if VALUE in self.text:
                self.problems.append(Problem(self.text.index(VALUE), "holds a NUL character"))
            raw = frozenset(part.start() for part in _PART.finditer(self.text) if _RAW.search(part[0]))
            for one in misplaced(self.text, raw):
                what = f"a {{{{ }}}} inside {one.inside} could become a command"
                mend = "write it without the quotes, as a value is quoted already; or mark it with `| raw`"
                self.problems.append(Problem(one.offset, what, mend))

    def _check(self, tree: nodes.Template) -> None:
        for node in tree.find_all(_FORBIDDEN):
            self.problems.append(Problem(self._offset(node.lineno), f"{type(node).__name__} is not for templates here"))
        for node in tree.find_all(nodes.Call):
            if not (isinstance(node.node, nodes.Name) and node.node.name == "range"):
                mend = "use a filter: `{{ x | upper }}`"
                self.problems.append(Problem(self._offset(node.lineno), "methods and functions are not called", mend))
        local = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"} | {"loop", "range"}
        for node in tree.find_all(nodes.Sub):
            local |= self._dashed(node)
        for root, keys, lineno in _chains(tree):
            if root in ROOTS:
                self.reads.append(Read(root, keys, self._offset(lineno, root)))
            elif root not in local:
                known = ", ".join(ROOTS)
                self.problems.append(Problem(self._offset(lineno, root), f"unknown name `{root}`", f"known: {known}"))

    def _dashed(self, node: nodes.Sub) -> set[str]:
        """Refuse `steps.git-pull`, which is a subtraction; the names in it that nothing more is to be said of."""
        left = node.left
        if isinstance(left, nodes.Getattr) and isinstance(left.node, nodes.Name) and left.node.name == "steps":
            right = next(iter(_names(node.right)), "")
            if right and right not in ROOTS:
                name = f"{left.attr}-{right}"
                offset = self._offset(node.lineno, "steps")
                self.problems.append(Problem(offset, f"`steps.{name}` is a subtraction", f"write steps['{name}']"))
                return {right}
        return set()

    def _offset(self, lineno: int, word: str = "") -> int:
        """Where a line of the template begins in its text, or a word in that line."""
        start = 0
        for _ in range(lineno - 1):
            start = self.text.find("\n", start) + 1
        if word:
            for part in _PART.finditer(self.text):
                found = re.search(rf"(?<![\w.]){re.escape(word)}\b", part[0])
                if found and part.end() > start:
                    return part.start() + found.start()
            found = re.search(rf"(?<![\w.]){re.escape(word)}\b", self.text[start:])
            return start + found.start() if found else start
        return start

    def render(self, values: Mapping[str, Any]) -> str:
        """The text over these values, plain data by root. Raises TemplateFailed."""
        text: str = self._run(lambda: "".join(_bounded(_sandbox(self.kind).from_string(self.text).generate(values))))
        if self.kind != "script":
            return text
        for one in misplaced_values(text):
            line = text.count("\n", 0, one.offset) + 1
            raise TemplateFailed(f"a value inside {one.inside}, in line {line} as rendered, could become a command")
        return text.replace(VALUE, "")

    def value(self, values: Mapping[str, Any]) -> Any:
        """The value of an expression over these values. Raises TemplateFailed."""

        def work() -> Any:
            found = _sandbox("expression").compile_expression(self._source, undefined_to_none=False)(**values)
            return list(found) if isinstance(found, Iterator) else found  # of filters: map, select

        return self._run(work)

    def _run(self, work: Any) -> Any:
        try:
            value = work()
            if isinstance(value, jinja2.Undefined):
                value._fail_with_undefined_error()
            return value
        except TemplateFailed:
            raise
        except jinja2.UndefinedError as error:
            raise TemplateFailed(f"{error.message}") from None
        except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError, LookupError, RecursionError) as error:
            raise TemplateFailed(str(error) or type(error).__name__) from None
        except MemoryError:
            raise TemplateFailed("takes too much memory") from None


def _bounded(parts: Iterator[str]) -> Iterator[str]:
    """The parts of a text, up to RESULT_MAX. Raises TemplateFailed behind that."""
    size = 0
    for part in parts:
        size += len(part)
        if size > RESULT_MAX:
            raise TemplateFailed(f"gives more than {RESULT_MAX >> 20} MiB")
        yield part


def _names(node: nodes.Node) -> Iterator[str]:
    """The first names in a part of a template, the node itself included."""
    if isinstance(node, nodes.Name):
        yield node.name
    for below in node.find_all(nodes.Name):
        yield below.name


def _chains(tree: nodes.Node) -> Iterator[tuple[str, tuple[str | int, ...], int]]:
    """Each read of a name with the constant keys behind it, longest first; (name, keys, line)."""
    inner: set[int] = set()
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Name)):
        if id(node) in inner:
            continue
        keys: list[str | int] = []
        constant: list[str | int] = []
        at: nodes.Node = node
        while isinstance(at, (nodes.Getattr, nodes.Getitem)):
            if isinstance(at, nodes.Getattr):
                keys.append(at.attr)
            elif isinstance(at.arg, nodes.Const) and isinstance(at.arg.value, (str, int)):
                keys.append(at.arg.value)
            elif isinstance(at.arg, nodes.Neg) and isinstance(at.arg.node, nodes.Const):
                keys.append(-at.arg.node.value)
            else:
                keys.clear()  # what stands behind a computed key is not constant
            inner.add(id(at.node))
            at = at.node
        if isinstance(at, nodes.Name) and at.ctx == "load":
            constant = list(reversed(keys))
            yield at.name, tuple(constant), at.lineno
