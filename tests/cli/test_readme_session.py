"""The session that README shows is true: its commands, run again, print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.house import sources
from tests.house.documents import FENCE, README
from tests.installation import Installation

TASK = re.compile(r"\b01[0-9A-HJKMNP-TV-Z]{24}\b")
VOLATILE = {
    "SNAPSHOT": re.compile(r"\bs-\d{8}T\d{6}Z-[0-9a-f]{4}\b"),
    "TIME": re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
    "NODE": re.compile(r"\b[\w-]+-[0-9a-f]{6}\b"),
    "position N": re.compile(r"\bposition \d+"),
    "pid N, log FILE": re.compile(r"pid \d+, log [^)]+"),
}
"""What is different each time, but for the ids of tasks, which later commands name."""


def session() -> list[tuple[str, list[str]]]:
    """Each command of README's session with the lines that it prints."""
    section = sources.text(README).partition("## A session")[2].partition("\n## ")[0]
    ((language, block),) = FENCE.findall(section)
    assert language == "console"
    told: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            told.append((line.removeprefix("$ "), []))
        else:
            told[-1][1].append(line)
    return told


def steady(line: str) -> str:
    """A line without what is different each time; columns of a table may be wider or narrower."""
    for name, pattern in VOLATILE.items():
        line = pattern.sub(name, line)
    return re.sub(r" {2,}", "  ", line).rstrip()


def test_its_commands_print_what_it_says(tmp_path: Path) -> None:
    with Installation(tmp_path / "here") as here:
        here.agent_type("tester", mode="script", adapter="shell")
        workspace = str(tmp_path / "demo")
        tasks: dict[str, str] = {}
        told = session()
        assert len(told) > 8
        for command, lines in told:
            for readme, real in {"/tmp/demo": workspace, **tasks}.items():
                command = command.replace(readme, real)
            script = f'maestro() {{ "{sys.executable}" -m maestro "$@"; }}; {{ {command}; }} 2>&1'
            done = subprocess.run(["sh", "-c", script], env=here.env, capture_output=True, text=True, timeout=60)
            printed = done.stdout.replace(workspace, "/tmp/demo").splitlines()
            tasks.update(zip(TASK.findall("\n".join(lines)), TASK.findall(done.stdout), strict=False))
            # A disk with less than 40 GB free is warned of, whatever the command.
            shown = [TASK.sub("TASK", steady(line)) for line in printed if "GB free, less than" not in line]
            assert shown == [TASK.sub("TASK", steady(line)) for line in lines], command
            assert done.returncode == 0


def test_it_is_short() -> None:
    assert sum(1 + len(lines) for _, lines in session()) <= 24
