"""No archive writes outside of its stage, fools a reader or costs more than it should: each is refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from maestro.workspaces.archive.export.export_reader import open_export
from tests.workspaces.archive import corpus, forging
from tests.workspaces.archive.trees import told

ROOT = Path(__file__).parents[3]
SECONDS_MAX = 3.0  # a second on a machine that does nothing else
MEGABYTES_MAX = 100  # with the interpreter


def test_the_forger_can_make_an_honest_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(forging.forged(forging.lines_of(forging.honest(str(tmp_path)))))
    with open_export(tmp_path / "a") as export:
        export.restore({"ws": tmp_path / "stage"})
    assert (tmp_path / "stage/hard").read_bytes() == b"content"
    assert (tmp_path / "stage/out").readlink() == tmp_path


def test_every_hostile_or_damaged_archive_is_refused_by_name(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "sentinel").write_text("untouched")
    archives, names = tmp_path / "archives", []
    archives.mkdir()
    for number, (name, content) in enumerate(corpus.corpus(str(outside))):
        names.append(name)
        (archives / f"{number:04d}").write_bytes(content)
    before = told(tmp_path)
    (tmp_path / "stages").mkdir()
    argv = [sys.executable, "-m", "tests.workspaces.archive.judging", str(archives), str(tmp_path / "stages/stage")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    *verdicts, peak = map(json.loads, done.stdout.splitlines())
    verdicts = [{**verdict, "name": names[int(verdict["name"])]} for verdict in verdicts]
    assert [verdict for verdict in verdicts if verdict["error"] not in ("VerificationFailed", "Invalid")] == []
    assert [verdict for verdict in verdicts if not verdict["where"] or verdict["left"]] == []
    assert [verdict for verdict in verdicts if verdict["took"] > SECONDS_MAX] == []
    assert peak["peak_mb"] < MEGABYTES_MAX
    (tmp_path / "stages").rmdir()
    now = told(tmp_path)
    assert {**now, b"": before[b""]} == before
    assert len(names) >= 500
