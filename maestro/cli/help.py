"""`maestro help`: the documents of this installation, listed and shown.

Each topic is a Markdown file in `maestro/docs/`, which is part of the package. Its first line is the title, and its
first paragraph says in one sentence what the document tells.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from maestro.cli import printer
from maestro.cli.options import examples
from maestro.model.errors import NotFound
from maestro.model.ids import nearest

app = typer.Typer()

FOLDER = Path(__file__).parents[1] / "docs"
WORD = re.compile(r"\w[\w-]{2,40}")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
WIDTH_MAX = 100
"""Columns of a rendered document: longer lines of prose are hard to read."""
LINK = re.compile(r"\[[^\]]+\]\(([a-z-]+)\.md(?:#[a-z-]+)?\)")
"""A link from one document to another, which a terminal cannot follow: rendered, it is the command to type."""
PAGER = "less"
LESS = "FRX"
"""Options of `less` where the user has set none: colours, an end at once if one screen is enough, no clearing."""


def topics() -> list[str]:
    """Names of all documents, in the order of the alphabet."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def summary(topic: str) -> str:
    """What a document tells, in one line: its first paragraph."""
    _, first, *_ = (FOLDER / f"{topic}.md").read_text(encoding="utf-8").split("\n\n", 2)
    return " ".join(first.split())


def completed(incomplete: str) -> list[tuple[str, str]]:
    """Topics that begin so, with what each document tells, for the completion of a shell."""
    return [(topic, summary(topic)) for topic in topics() if topic.startswith(incomplete)]


TopicArgument = Annotated[
    str | None, typer.Argument(help="Name of a document; without one all are listed.", autocompletion=completed)
]


@app.command(
    "help",
    epilog=examples("maestro help", "maestro help snapshots", "maestro help agent-types > agent-types.md"),
)
def show_help(topic: TopicArgument = None) -> int:
    """Show a document about Maestro, or list all of them.

    On a terminal the document is rendered and shown by the pager that PAGER names (else `less`); elsewhere its
    Markdown is printed as it is. NO_COLOR leaves out all colours and styles.
    """
    if topic is None:
        printer.write(_listing().encode())
        return 0
    text = _read(topic)
    if printer.is_terminal():
        _page(_rendered(text))
    else:
        printer.write(text.encode())
    return 0


def _listing() -> str:
    """All topics with a line each; on a terminal a line that is wider is wrapped."""
    names = topics()
    width = max(map(len, names)) + 2
    wide = shutil.get_terminal_size().columns if printer.is_terminal() else 0
    lines = []
    for name in names:
        line = f"{name:<{width}}{summary(name)}"
        if 0 < wide < len(line):
            lines += textwrap.wrap(line, max(wide, width + 20), subsequent_indent=" " * width)
        else:
            lines.append(line)
    return "\n".join([*lines, "", "`maestro help TOPIC` shows one; `maestro --help` lists the commands.", ""])


def _read(topic: str) -> str:
    """The Markdown of a document. Raises NotFound, with the nearest topic."""
    names = topics()
    if topic in names:
        return (FOLDER / f"{topic}.md").read_text(encoding="utf-8")
    near, mend = nearest(topic, names), "`maestro help` lists the topics"
    if near:
        mend = f"did you mean `maestro help {near[0]}`?"
    elif found := telling(topic):
        mend = f"{' and '.join(f'`maestro help {each}`' for each in found)} tell{'s' * (len(found) == 1)} of it"
    raise NotFound(f"there is no topic {topic!r}", "help", mend)


def telling(word: str) -> list[str]:
    """The topic that tells of a word in a heading, or else the two that have it the most often; none where none has."""
    if not WORD.fullmatch(word):
        return []
    sought = re.compile(rf"\b{re.escape(word)}", re.IGNORECASE)

    def rank(topic: str) -> tuple[bool, bool, int]:
        text = (FOLDER / f"{topic}.md").read_text(encoding="utf-8")
        headings = HEADING.findall(text)
        is_heading = any(heading.casefold() == word.casefold() for heading in headings)
        return is_heading, any(map(sought.search, headings)), len(sought.findall(text))

    found = sorted((topic for topic in topics() if rank(topic)[2]), key=rank, reverse=True)
    return found[: 1 if found and rank(found[0])[1] else 2]


def _rendered(text: str) -> str:
    """Markdown as a terminal shows it, in the terminal's width."""
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown, TableElement
    from rich.table import Table
    from rich.theme import Theme

    class Whole(TableElement):
        """A table whose long cells are broken; rich would cut names of variables and files."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for part in super().__rich_console__(console, options):
                if isinstance(part, Table):
                    for column in part.columns:
                        column.overflow = "fold"
                yield part

    class Document(Markdown):
        """A document, with whole tables."""

        elements = Markdown.elements | {"table_open": Whole}

    drawn = io.StringIO()
    console = Console(
        file=drawn,
        force_terminal=True,
        color_system="standard" if printer.is_styled() else None,
        width=min(WIDTH_MAX, shutil.get_terminal_size().columns),
        theme=Theme({"markdown.code": "bold cyan"}),  # rich's own has a black background
    )
    told = LINK.sub(r"`maestro help \1`", text)
    console.print(Document(told, code_theme="ansi_dark", hyperlinks=False))
    return "".join(f"{line.rstrip()}\n" for line in drawn.getvalue().splitlines())


def _page(text: str) -> None:
    """Show a text by the user's pager; print it where there is none, or where the terminal cannot page."""
    command = _pager()
    if not command:
        printer.write(text.encode())
        return
    printer.flush()
    # Ctrl-C is for the pager, which may stop a search by it; a handler, unlike SIG_IGN, is not inherited.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        subprocess.run(command, input=text.encode(), env={"LESS": LESS, **os.environ}, check=False)
    except OSError:  # PAGER names no program
        printer.write(text.encode())
    finally:
        signal.signal(signal.SIGINT, before)


def _pager() -> list[str]:
    """The command line of the pager: of PAGER, or `less` where that is installed; empty where nothing is to page."""
    if os.environ.get("TERM", "dumb") == "dumb":
        return []
    chosen = os.environ.get("PAGER")
    if chosen is None:
        return [PAGER] if shutil.which(PAGER) else []
    try:
        return shlex.split(chosen)
    except ValueError:  # an unclosed quote
        return []
