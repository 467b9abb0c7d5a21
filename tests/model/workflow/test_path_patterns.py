"""Which paths a pattern of `files` matches."""

from __future__ import annotations

import time

import pytest

from maestro.model.errors import Invalid
from maestro.model.workflow.path_patterns import PathPatterns


def matches(pattern: str, path: str) -> bool:
    patterns = PathPatterns([pattern])
    places = patterns.start
    for name in path.split("/"):
        places = patterns.step(places, name)
    return bool(patterns.matched(places))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("dist/**", "dist/a"),
        ("dist/**", "dist/a/b/c.js"),
        ("dist/**", "dist/.hidden/x"),
        ("dist", "dist"),
        ("dist", "dist/a/b"),
        ("dist/", "dist/a"),
        ("./dist/*.js", "dist/a.js"),
        ("dist/*", "dist/sub/below"),
        ("**/x.txt", "x.txt"),
        ("**/x.txt", "a/b/x.txt"),
        ("a/**/b/**/c", "a/b/c"),
        ("a/**/b/**/c", "a/1/2/b/3/c"),
        ("**", "anything/at/all"),
        ("*.tar.*", "v1.tar.gz"),
        ("[a]?{b}", "[a]?{b}"),
        ("a*", "a\nb"),
    ],
)
def test_it_matches(pattern: str, path: str) -> None:
    assert matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("dist/**", "dist"),
        ("dist/**", "distance/a"),
        ("dist/*.js", "dist/a.css"),
        ("dist/*.js", "dist/sub/a.js"),
        ("x.txt", "a/x.txt"),
        ("x.txt", "xytxt"),
        ("a/**/b", "a/b1"),
        ("*.js", "a.JS"),
        ("?", "a"),
    ],
)
def test_it_does_not_match(pattern: str, path: str) -> None:
    assert not matches(pattern, path)


@pytest.mark.parametrize("pattern", ["", "/", "/etc/passwd", "..", "../x", "a/../../x", ".", "./", "a\0b"])
def test_what_is_no_path_in_a_workspace_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid):
        PathPatterns([pattern])


def test_folders_in_which_nothing_can_match_are_not_walked() -> None:
    patterns = PathPatterns(["dist/**", "a/b.txt"])
    assert not patterns.step(patterns.start, "node_modules")
    below = patterns.step(patterns.start, "a")
    assert below and not patterns.matched(below) and not patterns.step(below, "c")


def test_each_pattern_is_told_apart() -> None:
    patterns = PathPatterns(["*.js", "a.*", "b"])
    assert patterns.matched(patterns.step(patterns.start, "a.js")) == {0, 1}


def test_a_pattern_of_many_stars_takes_no_long_time() -> None:
    began = time.process_time()
    assert not matches("/".join(["**", "a"] * 40), "/".join(["a"] * 30 + ["b"]))
    assert time.process_time() - began < 2
