"""The tested decision is the one that runs: what the model offers is used by the product, not by its tests alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house import sources

Function = ast.FunctionDef | ast.AsyncFunctionDef
Place = tuple[str, str]
"""A function or class: its module and its name."""

LITTLE = {
    "a": """
def one(): two()
def two(): ...
def three(): four()
def four(): ...
TABLE = {1: five}
def five(): ...
def six(): ...
""",
    "b": "from a import one\nimport a as other\none()\nother.six()",
    "c": "from a import three, four",
}


def test_every_public_function_of_the_model_is_reached_by_the_product() -> None:
    modules = {sources.module_name(path): sources.tree(path) for path in sources.modules(*sources.PACKAGES)}
    offered = {(sources.module_name(path), name) for path in model() for name in functions(sources.tree(path))}
    assert len(offered) > 80
    inside = {module for module, _ in offered}
    assert not sorted(".".join(place) for place in offered - reached(modules, inside))


def test_every_public_method_of_the_model_is_used_by_the_product() -> None:
    """By its name: where two classes have a method of one name, the use of one counts for both."""
    trees = [sources.tree(path) for path in sources.modules(*sources.PACKAGES)]
    used = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    unused = []
    for path in model():
        for owner, method in methods(sources.tree(path)):
            own = set(ast.walk(method))
            if not any(node.attr == method.name and node not in own for node in used):
                unused.append(f"{path}:{method.lineno} {owner}.{method.name}")
    assert not unused


def test_an_import_is_no_use_and_what_only_the_unused_use_is_found() -> None:
    found = reached({name: ast.parse(text) for name, text in LITTLE.items()}, {"a"})
    assert found == {("a", name) for name in ("one", "two", "five", "six")}


def model() -> list[Path]:
    """The modules of the model."""
    return [path for path in sources.modules("maestro") if path.parts[1] == "model"]


def functions(module: ast.Module) -> list[str]:
    """The public functions of a module."""
    return [node.name for node in module.body if isinstance(node, Function) and not node.name.startswith("_")]


def methods(module: ast.Module) -> list[tuple[str, Function]]:
    """The public methods and properties of a module's public classes, each with the name of its class."""
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    found = [(each.name, node) for each in classes for node in each.body if isinstance(node, Function)]
    return [(owner, method) for owner, method in found if not method.name.startswith("_")]


def reached(modules: dict[str, ast.Module], inside: set[str]) -> set[Place]:
    """Functions and classes of the modules `inside` that a module outside of them uses, that run when their own module
    is imported, or that one of these uses.
    """
    named = {module: Names(module, tree) for module, tree in modules.items()}
    todo: list[Place] = []
    for module, tree in modules.items():
        loose = [node for node in tree.body if not isinstance(node, Function | ast.ClassDef)]
        todo += [place for node in (loose if module in inside else [tree]) for place in named[module].used(node)]
    found: set[Place] = set()
    while todo:
        module, name = place = todo.pop()
        if place in found or module not in inside:
            continue
        if name in named[module].imported:  # passed on to whoever imports it here
            todo.append(named[module].imported[name])
        elif name in named[module].defined:
            found.add(place)
            todo += named[module].used(named[module].defined[name])
    return found


class Names:
    """The names of one module: what it defines at its top, and what it imports by name or as a module."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self._module = module
        self.defined = {node.name: node for node in tree.body if isinstance(node, Function | ast.ClassDef)}
        self.imported: dict[str, Place] = {}
        self._modules: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = (node.module, alias.name)
                    self._modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.Import):
                self._modules |= {alias.asname or alias.name: alias.name for alias in node.names}

    def used(self, part: ast.AST) -> Iterator[Place]:
        """What a part of the module names: its own definitions, what it imports, and what it takes from modules."""
        for node in ast.walk(part):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield self.imported.get(node.id, (self._module, node.id))
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in self._modules:
                yield self._modules[ast.unparse(node.value)], node.attr
