"""The tutorial of `maestro help monitoring` is true: its commands, used in order, give what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.house import sources
from tests.house.documents import FENCE
from tests.installation import Installation

TUTORIAL = sources.text(Path("maestro/docs/monitoring.md")).partition("\n## Ten minutes")[2].partition("\n## ")[0]


def test_each_of_its_blocks_does_what_it_says(tmp_path: Path) -> None:
    blocks = [(match[1], match[2]) for match in FENCE.finditer(TUTORIAL)]
    assert [language for language, _ in blocks] == ["yaml", *["console"] * 4]
    with Installation(tmp_path / "here") as here:
        (here.agents / "tester.yaml").write_text(blocks[0][1])
        for _, text in blocks[1:]:
            script, wanted = "", []
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                first, *lines = command.splitlines()
                script += first + "\n"
                wanted += lines
            maestro = f'maestro() {{ "{sys.executable}" -m maestro "$@"; }}\n'
            done = subprocess.run(
                ["sh", "-c", maestro + script], env=here.env, cwd=tmp_path, capture_output=True, text=True, timeout=60
            )
            assert done.stdout.splitlines() == wanted, (script, done)
