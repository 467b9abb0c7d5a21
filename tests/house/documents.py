"""The project's documents, and what they name: paths, links, headings, commands with their options, exit codes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click

from maestro.cli.app import GROUPS, Root, _command
from tests.house import sources

README = Path("README.md")
SETTINGS = Path("maestro/docs/settings.md")
TOPS = "maestro|projections|replayers|tests|tools|\\.ci"
PATH = re.compile(rf"(?<![\w/.{{}}$<>~-])(?:{TOPS})/[\w./*-]*[\w*/]")
FILE = re.compile(r"[\w./-]*\w\.(?:py|md|lua|sh)|[\w./-]+/")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)")
SPAN = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"--[a-z][a-z-]+")
SHELL = {"|", ">", ">>", "<", "&&", ";"}


def paths() -> list[Path]:
    """All documents but the changelog, which names what there was in its time."""
    return [path for path in sources.files() if path.suffix == ".md" and path.name != "CHANGELOG.md"]


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return FENCE.sub("", sources.text(path))


def missing_paths(path: Path) -> list[str]:
    """What a document names as a file or folder of the project and is none: from the root, or beside the document."""
    text = sources.text(path)
    named = [(name, (sources.ROOT,)) for name in PATH.findall(text)]
    beside = (sources.ROOT, (sources.ROOT / path).parent)
    named += [(span, beside) for span in SPAN.findall(prose(path)) if FILE.fullmatch(span)]
    return [name for name, tops in named if not any(any(top.glob(name.strip("/"))) for top in tops)]


def broken_links(path: Path) -> list[str]:
    """Links of a document to a file that is not there, or to a heading that the file does not have."""
    broken = []
    for target, anchor in LINK.findall(sources.text(path)):
        there = (sources.ROOT / path).parent / target if target else sources.ROOT / path
        if not there.exists() or (anchor and anchor not in headings(there.read_text(encoding="utf-8"))):
            broken.append(f"{target}#{anchor}")
    return broken


def headings(text: str) -> set[str]:
    """The anchors of the headings of a Markdown text, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def spoken(text: str) -> Iterator[str]:
    """What a text shows as code that could be typed: code spans, and the lines behind `$` in blocks of a console."""
    yield from SPAN.findall(FENCE.sub("", text))
    for language, block in FENCE.findall(text):
        if language == "console":
            yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))


def wrong_commands(text: str) -> list[str]:
    """Commands and options of Maestro or of a tool that a text names, and that there are not."""
    return [said for said in spoken(text) if not _is_right(said)]


def _is_right(said: str) -> bool:
    words = _words(said)
    if not words:
        return True
    options = {word.split("=")[0] for word in words if OPTION.fullmatch(word.split("=")[0])}
    if words[0] == "maestro":
        command, rest = _resolve(root(), words[1:])
        return _is_complete(command, rest) and options <= _options(command)
    if words[0] in GROUPS and len(words) > 1:
        command, rest = _resolve(root(), words)
        return _is_complete(command, rest) and options <= _options(command)
    if OPTION.fullmatch(words[0]):
        return options <= every_option() | tool_options()
    if words[0].startswith(("tools/", ".ci/")) and (sources.ROOT / words[0]).is_file():
        return all(option in sources.text(Path(words[0])) for option in options)
    return True


def _words(said: str) -> list[str]:
    try:
        words = shlex.split(re.sub(r"[\[\]…]", "", said), comments=True)
    except ValueError:  # half a quote: no command line
        words = said.split()
    return words[: next((index for index, word in enumerate(words) if word in SHELL), len(words))]


def _resolve(command: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words call, and what follows its name."""
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            break
        command, words = found, words[1:]
    return command, words


def _is_complete(command: click.Command, rest: list[str]) -> bool:
    """Whether no word is left that would have to be a command: `maestro bogus`, `task bogus`."""
    return not isinstance(command, click.Group) or not rest or not re.fullmatch(r"[a-z]+", rest[0])


def _options(command: click.Command) -> set[str]:
    return {"--help"} | {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


@cache
def root() -> Root:
    """The command line as a whole."""
    command = _command()
    assert isinstance(command, Root)
    return command


@cache
def every_option() -> frozenset[str]:
    """The options of all commands together."""

    def below(command: click.Command) -> Iterator[click.Command]:
        yield command
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                found = command.get_command(click.Context(command), name)
                assert found is not None
                yield from below(found)

    return frozenset().union(*map(_options, below(root())))


@cache
def tool_options() -> frozenset[str]:
    """What the developers' tools take, and what they give others."""
    texts = [sources.text(path) for path in sources.files() if path.parts[0] in {"tools", ".ci"}]
    return frozenset(OPTION.findall("\n".join(texts)))
