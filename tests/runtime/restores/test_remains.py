"""What a restore cannot remove is said: in its answer, in the list of workspaces and by doctor, until it is gone."""

from __future__ import annotations

import json
from pathlib import Path

from tests.workspaces.mounted import in_namespace

SCRIPT = """
from tests.runtime.acting import Node, until
from maestro.workspaces.exchanges import leftovers
out = outside()
with Node(place / "m") as maestro:
    ws = maestro.folder / "ws"
    maestro.json("agent", "assign", "shell", "--name", "a", "--to-workspace", str(ws))
    kept = maestro.json("state", "snapshot")["id"]
    records, path = maestro.home / "restore/exchange/left", maestro.folder / ".maestro-stage-00"
    (path / "data").mkdir(parents=True); bind(out, path / "data")
    records.mkdir(parents=True, mode=0o700)
    assert leftovers.remove(records, str(path), str(ws)).path == str(path)
    told = {"left": maestro.json("workspace", "list")[0]["left"] == [str(path)]}
    rows = json.loads(maestro.run("doctor").stdout)
    told["doctor"] = [row["status"] for row in rows if row["check"] == "left over" and str(path) in row["detail"]]
    told["restore"] = maestro.json("state", "restore", kept)["left"]
    maestro.run("shutdown", "--keep", "--grace-period", "1")
    maestro.up()
    told["stays"] = path.exists(), is_whole()
    subprocess.run(["umount", str(path / "data")], check=True)
    maestro.run("shutdown", "--keep", "--grace-period", "1")
    maestro.up()
    until(lambda: not path.exists())  # by the housekeeping of the next start
    until(lambda: maestro.json("workspace", "list")[0]["left"] == [])
print(json.dumps(told))
"""


def test_it_is_said_everywhere_and_tried_again(tmp_path: Path) -> None:
    told = json.loads(in_namespace(SCRIPT, tmp_path))
    assert told == {"left": True, "doctor": ["warning"], "restore": [], "stays": [True, True]}
