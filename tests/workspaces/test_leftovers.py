"""An old folder that cannot be removed is on record until it is gone, and is tried again."""

from __future__ import annotations

from pathlib import Path

from tests.workspaces.mounted import in_namespace

SCRIPT = """
from maestro.workspaces.exchanges import exchange, leftovers
from maestro.workspaces.exchanges.exchange import Exchange
ws, records = place / "ws", place / "journal/left"
(ws / "data").mkdir(parents=True); (ws / "old").write_text("old")
out = outside()
real = exchange.moved_mounts
def mounting(pairs):
    told = real(pairs)
    bind(out, Path(pairs[0].stage) / "data")  # after the last look, and before the old folder goes
    return told
exchange.moved_mounts = mounting
with Exchange(place / "journal") as one:
    stage = Path(one.stage(ws)); stage.mkdir(); (stage / "new").write_text("new")
    one.commit()
    (path,) = one.left
print(os.listdir(ws), is_whole())
(found,) = leftovers.listed(records)
print(found.path == path, found.target == str(ws), found.keeps, "mount point" in found.why)
print(leftovers.retry_removals(records), is_whole(), [each.path == path for each in leftovers.listed(records)])
subprocess.run(["umount", path + "/data"], check=True)
print(leftovers.retry_removals(records) == [path], Path(path).exists(), leftovers.listed(records), is_whole())
"""


def test_what_cannot_be_removed_is_told_and_goes_when_it_can(tmp_path: Path) -> None:
    assert in_namespace(SCRIPT, tmp_path).splitlines() == [
        "['new'] True",
        "True True False True",
        "[] True [True]",
        "True False [] True",
    ]
