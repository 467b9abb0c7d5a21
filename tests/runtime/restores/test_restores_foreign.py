"""A snapshot may be from anybody: what it would replace is an agent's folder here, or a user has named it; what nobody
may have as a workspace is not replaced at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.acting import Node
from tests.runtime.forging import forged


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "here") as node:
        yield node


def filled(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "page").write_text("precious")
    return path


def why_not(node: Node, *words: str, **env: str) -> dict[str, str | None]:
    """By agent, as the dry run says it."""
    planned = node.run("state", "restore", *words, "--dry-run", **env)
    assert planned.returncode in (0, 6), planned.stderr
    return {row["agent"]: row["why_not"] for row in json.loads(planned.stdout)["agents"]}


def test_a_forged_export_replaces_a_folder_only_where_a_user_names_it_exactly(node: Node, tmp_path: Path) -> None:
    www, srv = filled(tmp_path / "www"), filled(tmp_path / "srv")
    export = str(forged(tmp_path, node.namespace, {"ann": str(www), "ben": str(srv)}))
    for command in ("restore", "rollback"):
        refused = node.run("state", command, export)
        assert refused.returncode == 4
        assert f"--replace-foreign {www} --replace-foreign {srv}" in refused.stderr
    assert node.run("state", "restore", export, "--replace-foreign", str(www)).returncode == 4
    assert node.run("state", "restore", export, "--replace-foreign", str(tmp_path)).returncode == 2
    assert (www / "page").read_text() == (srv / "page").read_text() == "precious"
    assert not [event for event in node.events() if not event.type.startswith("node.")]

    done = node.run("state", "restore", export, "--replace-foreign", str(www), "--replace-foreign", str(srv))
    assert done.returncode == 0 and (www / "page").read_text() == (srv / "page").read_text() == "forged"
    back = [line.split("maestro ")[-1].split() for line in done.stderr.splitlines() if "bring back what was in" in line]
    for words in back:
        node.json(*words)
    assert (www / "page").read_text() == (srv / "page").read_text() == "precious"


def test_what_is_absent_empty_or_below_the_root_needs_no_name(node: Node, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    below = filled(node.root / "team/cy")
    places = {"ann": str(tmp_path / "empty"), "ben": str(tmp_path / "absent"), "cy": str(below)}
    export = str(forged(tmp_path, node.namespace, places))
    assert set(why_not(node, export).values()) == {None}
    node.json("state", "restore", export)
    assert [Path(place, "page").read_text() for place in places.values()] == ["forged"] * 3


def test_a_root_that_the_export_names_makes_nothing_below_it_its_own(node: Node, tmp_path: Path) -> None:
    www = filled(tmp_path / "www")
    node.json("node", "list")
    export = str(forged(tmp_path, node.namespace, {"ann": str(www)}, root=str(tmp_path), node=node.id))
    env = {"MAESTRO_WORKSPACE_ROOT": ""}  # then the recorded paths stay as they are
    assert "--replace-foreign" in str(why_not(node, export, **env)["ann"])


def test_homes_and_what_maestro_keeps_are_refused_though_they_are_named(node: Node, tmp_path: Path) -> None:
    home, around = filled(tmp_path / "home"), filled(tmp_path / "around")
    places = {"ann": str(home), "ben": str(node.home), "cy": "/"}
    export = str(forged(tmp_path, node.namespace, places))
    named = [word for place in places.values() for word in ("--replace-foreign", place)]
    found = why_not(node, export, *named, HOME=str(home))
    assert "home directory" in str(found["ann"]) and "MAESTRO_HOME" in str(found["ben"])
    assert "root of the file system" in str(found["cy"])
    assert node.run("state", "restore", export, *named, HOME=str(home)).returncode == 4
    assert (home / "page").read_text() == (around / "page").read_text() == "precious"


def test_two_agents_with_one_workspace_or_one_in_the_other_are_refused(node: Node, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "one")
    places = {"ann": str(tmp_path / "one"), "ben": str(tmp_path / "link"), "cy": str(tmp_path / "one/deep")}
    export = str(forged(tmp_path, node.namespace, places))
    assert all("workspace of agent" in str(why) for why in why_not(node, export).values())
    assert node.run("state", "restore", export).returncode == 4
    node.json("state", "set", "mine", "1")  # so that it is not the log that is looked at
    refused = node.run("agent", "assign", "--from-snapshot", export)
    assert refused.returncode == 4 and "workspace of agent" in refused.stderr
    assert not (tmp_path / "one").exists() and node.json("agent", "list") == []
    node.up()
    assert node.json("state", "get", "mine")["value"] == "1"


def test_assignments_that_are_put_back_take_nobodys_folder(node: Node, tmp_path: Path) -> None:
    www = filled(tmp_path / "www")
    export = str(forged(tmp_path, node.namespace, {"ann": str(www), "ben": str(node.root / "team/ben")}))
    refused = node.run("agent", "assign", "--from-snapshot", export)
    assert refused.returncode == 4 and node.json("agent", "list") == []
    assert not (node.root / "team").exists()
    node.json(*refused.stderr.split("`")[1].split()[1:])  # a user may, by naming it
    assert len(node.json("agent", "assign", "--from-snapshot", export)) == 2
    assert (www / "page").read_text() == "precious" and (node.root / "team/ben/page").read_text() == "forged"


def test_what_a_restore_replaces_is_kept_though_it_is_nobodys_workspace_any_more(node: Node) -> None:
    """It is replaced where it is named, and only there, as it lies outside the root and has something in it."""
    node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(node.folder / "ann"))
    (node.folder / "ann/mine").write_text("of ann")
    node.json("state", "snapshot")
    node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(node.folder / "elsewhere"))
    (node.folder / "ann/mine").write_text("precious")
    named = ("--replace-foreign", str(node.folder / "ann"))
    planned = node.run("state", "restore", "latest", "--dry-run")
    (ann,) = [each for each in json.loads(planned.stdout)["agents"] if each["agent"] == "ann"]
    assert planned.returncode == 6 and ann["foreign"] and " ".join(named) in ann["why_not"]
    before = len(node.events())
    refused = node.run("state", "restore", "latest")
    assert refused.returncode == 4 and " ".join(named) in refused.stderr
    assert node.run("state", "restore", "latest", "--replace-foreign", str(node.folder)).returncode == 2
    assert (node.folder / "ann/mine").read_text() == "precious" and len(node.events()) == before
    planned = node.json("state", "restore", "latest", "--dry-run", *named)
    assert [each["agent"] for each in planned["agents"] if each.get("foreign")] == ["ann"]

    done = node.run("state", "restore", "latest", *named)
    row = json.loads(done.stdout)
    assert (node.folder / "ann/mine").read_text() == "of ann"
    assert node.json("agent", "list")[0]["workspace"] == str(node.folder / "ann")
    (back,) = [line for line in done.stderr.splitlines() if "bring back what was in" in line]
    node.json(*back.split("maestro ")[-1].split())
    assert (node.folder / "ann/mine").read_text() == "precious"
    node.json(*row["undo"].split()[1:])
    workspaces = {agent["id"]: agent["workspace"] for agent in node.json("agent", "list")}
    assert workspaces["ann"] == str(node.folder / "elsewhere")
