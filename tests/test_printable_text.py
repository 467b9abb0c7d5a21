"""What is shown of agents' output holds nothing that a terminal acts on, however it comes in pieces."""

from __future__ import annotations

import unicodedata

from hypothesis import given, strategies as st

from maestro.printable_text import PlainText, plain

PIECES = [
    "a",
    "\n",
    "\t",
    "[31m",
    "\x1b",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x1b]8;;x\x1b\\",
    "\x9b2J",
    "\x1bP1$r",
    "\x07",
]


@given(st.lists(st.sampled_from([*PIECES, "\r", "\u202e", "\0", "é"]), max_size=40), st.lists(st.integers(1, 5)))
def test_nothing_that_a_terminal_acts_on_comes_through(parts: list[str], sizes: list[int]) -> None:
    shown = "".join(fed("".join(parts), sizes))
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cf") and char not in "\n\t"]


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.lists(st.integers(1, 5)))
def test_it_does_not_depend_on_where_the_pieces_end(parts: list[str], sizes: list[int]) -> None:
    text = "".join(parts)
    assert "".join(fed(text, sizes)) == plain(text)


def test_a_sequence_without_an_end_is_not_held_for_ever() -> None:
    plainly = PlainText()
    shown = plainly.feed("\x1b]0;") + "".join(plainly.feed("x" * 1000) for _ in range(30))
    assert len(shown) > 10_000


def fed(text: str, sizes: list[int]) -> list[str]:
    plainly = PlainText()
    shown = []
    for size in sizes:
        shown.append(plainly.feed(text[:size]))
        text = text[size:]
    return [*shown, plainly.feed(text), plainly.feed("", final=True)]
