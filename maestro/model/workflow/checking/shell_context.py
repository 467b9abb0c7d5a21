"""Where in an author's shell script a value may stand: only as a word of its own, never inside quotes or an expansion.

A value is rendered as one quoted shell word. Inside quotes of the author's the quotes of the value would end them, and
in a heredoc, a comment, an arithmetic or parameter expansion the shell reads quotes in another way or not at all: there
a value could become a command. So each `{{ }}` outside of a plain word is refused before anything runs; and as what
a template leaves out, repeats or strips can put one there all the same, each script once more when it was rendered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_HEREDOC = re.compile(r"<<-?[ \t]*(?!\{\{|\0)(\\?)(?:'([^'\n]*)'|\"([^\"\n]*)\"|((?:(?!\{\{|\0)[^\s;&|<>()'\"])+))")
_TEMPLATE = (("{{", "}}"), ("{%", "%}"), ("{#", "#}"))
VALUE = "\0"
"""What stands before and behind each value of a script that was rendered, until it has been read; no value holds it."""
_RENDERED = ((VALUE, VALUE),)
_HEREDOC_MARK = re.compile(r"(?<!<)<<-?[ \t]*[^\s;&|<>()]*$")
HEREDOC_MARK_MAX = 64
_SHIFT = re.compile(r"<<[ \t]*\d")
_WORD_ENDS = frozenset(" \t\n;&|()<>")
_CASE = re.compile(r"(?:case|esac)(?![^\s;&|()<>])")


class Misplaced(NamedTuple):
    """A `{{ }}` where a value is no word. offset: of its beginning in the script; inside: in what it stands."""

    offset: int
    inside: str


def misplaced(script: str, allowed: frozenset[int] = frozenset()) -> list[Misplaced]:
    """The `{{ }}` of a script that stand where a value is no word of its own, in order.

    allowed: offsets of those that the author marked as raw.
    """
    return [one for one in _Lexer(script, _TEMPLATE).run() if one.offset not in allowed]


def misplaced_values(rendered: str) -> list[Misplaced]:
    """The values of a rendered script that stand where a value is no word of its own; each has VALUE around it."""
    return _Lexer(rendered, _RENDERED).run()


def marked_words(texts: Iterable[str]) -> str:
    """Texts as quoted words, with VALUE around them.

    Quoted is also what needs no quotes where it stands alone: `2` before `>`, `B` behind `$A`, `A=1` before a command.
    """
    return VALUE + " ".join("'" + text.replace("'", "'\"'\"'") + "'" for text in texts) + VALUE


class _Lexer:
    """Reads a POSIX or bash script as far as is needed to know in what each value stands.

    marks: what opens and closes the parts that are not the script's, the values first.
    stack: what is open, from the outside: `'`, `"`, "`", `$(`, `(`, `${`, `$((`.
    """

    def __init__(self, script: str, marks: tuple[tuple[str, str], ...]) -> None:
        self.script = script
        self.marks = marks
        self.at = 0
        self.stack: list[str] = []
        self.found: list[Misplaced] = []
        self.heredocs: list[tuple[str, bool]] = []
        self.cases: list[int] = [0]  # open `case`s at each level of the stack: the `)` of their patterns closes nothing
        self.word_start = True
        self.ambiguous = False

    def run(self) -> list[Misplaced]:
        script, end = self.script, len(self.script)
        while self.at < end:
            if self._template():
                continue
            top = self.stack[-1] if self.stack else ""
            if top == "'":
                self._single()
            elif top == '"':
                self._double()
            else:
                self._plain(script[self.at], top)
        return self.found

    def _inside(self) -> str:
        """In what the present place stands; "" where a value is a word."""
        names = {"'": "single quotes", '"': "double quotes", "`": "backticks", "${": "${ }", "$((": "$(( ))"}
        found = next((names[part] for part in self.stack if part in names), "")
        return found or ("a script with $'…', which shells read differently" if self.ambiguous else "")

    def _template(self, inside: str = "") -> bool:
        """Skip a template's part at the present place; True where there was one."""
        value = self.marks[0][0]
        for opens, closes in self.marks:
            if self.script.startswith(opens, self.at):
                inside = inside or self._inside()
                if not inside and self.at and self.script[self.at - 1] == "\\" and self._escaped():
                    inside = "an escape"
                if not inside and self.at and self.script[self.at - 1] == "$":
                    inside = "an expansion"
                if not inside and _HEREDOC_MARK.search(self.script, max(0, self.at - HEREDOC_MARK_MAX), self.at):
                    inside = "a heredoc's mark"
                if opens == value and inside:
                    self.found.append(Misplaced(self.at, inside))
                found = self.script.find(closes, self.at + len(opens))
                self.at = len(self.script) if found < 0 else found + len(closes)
                if opens == value:
                    self.word_start = False
                return True
        return False

    def _escaped(self) -> bool:
        """Whether the backslash before the present place is not escaped itself."""
        before = self.script[: self.at]
        return (len(before) - len(before.rstrip("\\"))) % 2 == 1

    def _single(self) -> None:
        if self.script[self.at] == "'":
            self.stack.pop()
        self.at += 1

    def _double(self) -> None:
        char = self.script[self.at]
        if char == '"':
            self.stack.pop()
            self.at += 1
        elif char == "\\":
            self._backslash()
        elif not self._expansion():
            self.at += 1

    def _backslash(self) -> None:
        """Skip a backslash and what it escapes, but not the beginning of a template; with a line end it is nothing."""
        self.at += 1
        if self.at < len(self.script) and not any(self.script.startswith(opens, self.at) for opens, _ in self.marks):
            self.at += 1
        if self.script[self.at - 1] != "\n":
            self.word_start = False

    def _expansion(self) -> bool:
        """Enter `$(`, `$((`, `${` or a backtick at the present place; True where there was one."""
        for opens in ("$((", "$(", "${"):
            # `${{` is `$` before a value, not an expansion of the shell's
            if self.script.startswith(opens, self.at) and not self.script.startswith("${{", self.at):
                self.stack.append(opens)
                self.at += len(opens)
                self.word_start = True
                return True
        if self.script[self.at] == "`":
            if self.stack and self.stack[-1] == "`":
                self.stack.pop()
            else:
                self.stack.append("`")
            self.at += 1
            return True
        return False

    def _plain(self, char: str, top: str) -> None:
        """One character outside of quotes."""
        if char == "\\":
            self._backslash()
        elif char == "`" and "`" in self.stack:
            while self.stack.pop() != "`":
                pass
            self.at += 1
        elif self._expansion():
            return
        elif self.word_start and (word := _CASE.match(self.script, self.at)):
            self._case(word[0])
        elif char == "#" and self.word_start and top not in ("${", "$(("):
            self._comment()
        elif char == "<" and (doc := self._heredoc()):
            self.heredocs.append((doc[2] or doc[3] or doc[4] or "", self.script[self.at + 2] == "-"))
            self.at = doc.end()
            self.word_start = False
        elif char == "\n" and self.heredocs:
            self.at += 1
            self._heredoc_bodies()
            self.word_start = True
        else:
            self._mark(char, top)

    def _heredoc(self) -> re.Match[str] | None:
        """The beginning of a heredoc at the present place; a shift of bits is none."""
        shifts = "$((" in self.stack and _SHIFT.match(self.script, self.at)
        return None if shifts or self.script.startswith("<<<", self.at) else _HEREDOC.match(self.script, self.at)

    def _mark(self, char: str, top: str) -> None:
        """A character that opens or closes something, or is part of a word."""
        if char == "'" and self.at and self.script[self.at - 1] == "$":
            self._dollar_quoted()
            return
        if char in "'\"":
            self.stack.append(char)
        elif char == "(" and self.word_start and self.script.startswith("((", self.at):
            self.stack.append("$((")
            self.at += 1
        elif char == "(":
            self.stack.append("(")
        elif char == ")":
            self._close(top)
        elif char == "}" and top == "${":
            self.stack.pop()
        self.word_start = char in _WORD_ENDS
        self.at += 1

    def _case(self, word: str) -> None:
        """Count a `case`, wherever it stands, and an `esac` where a command may begin: so never too few are open."""
        open_cases = self.cases_at()
        if word == "case":
            self.cases[-1] = open_cases + 1
        elif self.script[: self.at].rstrip(" \t")[-1:] in ("", ";", "\n", "&", "|", "("):
            self.cases[-1] = max(0, open_cases - 1)
        self.at += len(word)
        self.word_start = False

    def cases_at(self) -> int:
        """The `case`s that are open at the present level."""
        depth = sum(part in ("$(", "(") for part in self.stack)
        del self.cases[depth + 1 :]
        self.cases += [0] * (depth + 1 - len(self.cases))
        return self.cases[-1]

    def _close(self, top: str) -> None:
        if top == "$((" and self.script.startswith("))", self.at):
            self.stack.pop()
            self.at += 1
        elif top in ("$(", "(") and not self.cases_at():
            self.stack.pop()
            self.cases_at()

    def _dollar_quoted(self) -> None:
        """Skip `$'…'`, in which a backslash escapes a quote, but not in every shell: so no value may follow."""
        self.ambiguous = True
        self.stack.append("'")
        self.at += 1
        while self.at < len(self.script) and self.script[self.at] != "'":
            if self._template():
                continue
            self.at += 2 if self.script[self.at] == "\\" else 1
        self.stack.pop()
        self.at += 1
        self.word_start = False

    def _comment(self) -> None:
        """Skip a comment: a value with a line end in it would leave it."""
        while self.at < len(self.script) and self.script[self.at] != "\n":
            if not self._template("a comment"):
                self.at += 1

    def _heredoc_bodies(self) -> None:
        for delimiter, tabs in self.heredocs:
            while self.at < len(self.script):
                end = self.script.find("\n", self.at)
                line = self.script[self.at : end if end >= 0 else len(self.script)]
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    self.at = len(self.script) if end < 0 else end + 1
                    break
                stop = len(self.script) if end < 0 else end + 1
                while self.at < stop:
                    if not self._template("a heredoc"):
                        self.at += 1
                    stop = max(stop, self.at)
        self.heredocs.clear()
