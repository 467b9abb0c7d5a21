"""The tutorial of `maestro help nodes` is true: its commands, used in order, give what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.house import sources
from tests.house.documents import FENCE
from tests.installation import Installation, left_behind

TUTORIAL = sources.text(Path("maestro/docs/nodes.md")).partition("\n## Ten minutes")[2].partition("\n## ")[0]


def test_each_of_its_blocks_does_what_it_says(tmp_path: Path) -> None:
    """All in one shell, as its functions are for all of it."""
    blocks = [match[2] for match in FENCE.finditer(TUTORIAL)]
    assert len(blocks) == 6
    with Installation(tmp_path / "here") as here:
        script, wanted = f'maestro() {{ "{sys.executable}" -m maestro "$@"; }}\n', list[str]()
        for text in blocks:
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                first, *lines = command.splitlines()
                script += first + "\n"
                wanted += [line.strip() for line in lines]
        script = script.replace("/tmp/ten", str(here.home))
        done = subprocess.run(
            ["sh", "-c", script], env=here.env, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert [line.strip() for line in done.stdout.splitlines()] == wanted, (script, done)
        assert not left_behind(here.home / "1") and not left_behind(here.home / "2")
