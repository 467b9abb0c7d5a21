"""Commands by names that they have elsewhere: what is meant is proposed."""

from __future__ import annotations

import pytest

from tests.cli.conftest import CommandLine


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("start",), "did you mean `maestro up`, `maestro monitor start`? see `maestro --help`"),
        (("node", "undrain", "n"), "did you mean `maestro node drain --undo`? see `maestro node --help`"),
        (("node", "rm", "n"), "did you mean `maestro node forget`? see `maestro node --help`"),
    ],
)
def test_what_is_meant_is_proposed(maestro: CommandLine, words: tuple[str, ...], told: str) -> None:
    result = maestro.here(*words)
    assert result.code == 2 and result.err == f"maestro: no such command {words[min(1, len(words) - 1)]!r}; {told}\n"
