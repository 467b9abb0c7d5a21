"""What the tests of agents ran on: said at the end, so that nobody believes in an agent that was not there."""

from __future__ import annotations

import pytest

from tests.agents import clis


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for the real agents that were there, and one for each that was not."""
    there = clis.installed().values()
    terminalreporter.write_line("real agents: " + (", ".join(f"{cli.name} {cli.version}" for cli in there) or "none"))
    for line in clis.left_out():
        terminalreporter.write_line(f"real agents left out: {line}")
