"""The tutorial of `maestro help workflows` is true: its files and commands, used in order, give what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.house import sources
from tests.house.documents import FENCE
from tests.installation import Installation

DOCUMENT = Path("maestro/docs/workflows.md")
NAMED = re.compile(r"`([\w-]+\.yaml)`[^`]*$")


def parts() -> list[tuple[str, str, str]]:
    """The blocks of the tutorial: language, text, and for YAML the file that the text before it names."""
    tutorial = sources.text(DOCUMENT).partition("\n## Reference")[0]
    found, before = [], ""
    for match in FENCE.finditer(tutorial):
        before = tutorial[: match.start()]
        named = re.findall(r"`([\w-]+\.yaml)`", before.rpartition("```")[2])
        found.append((match[1], match[2], named[-1] if named else ""))
    return found


def test_each_of_its_blocks_does_what_it_says(tmp_path: Path) -> None:
    blocks = parts()
    assert len(blocks) >= 14
    with Installation(tmp_path / "here") as here:
        for slug in ("codex", "claude"):
            here.agent_type(slug, mode="script", adapter="shell")
        for language, text, name in blocks:
            if language == "yaml":
                assert name, text
                (tmp_path / name).write_text(text)
                continue
            assert language == "console"
            commands = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
            script, wanted = "", []
            for command in commands:
                first, *lines = command.splitlines()
                script += first + "\n"
                wanted += lines
            maestro = f'maestro() {{ "{sys.executable}" -m maestro "$@"; }}\n'
            done = subprocess.run(
                ["sh", "-c", maestro + script], env=here.env, cwd=tmp_path, capture_output=True, text=True, timeout=60
            )
            assert done.stdout.splitlines() == wanted, (script, done)
