"""Guards: which folders may be a workspace, whatever name or link leads to them."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from maestro.model.errors import Invalid, MaestroError, Refused
from maestro.workspaces import folders
from maestro.workspaces.guards import Claim, Neighbours, check_agent_id, check_root, check_unchanged, check_workspace


class Place:
    """A root, a home and another agent, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.home = folder / "state/maestro"
        self.taken = folder / "taken/inner"
        for path in (self.root, self.home, self.taken):
            path.mkdir(parents=True)
        self.claims = [Claim("other", str(self.root), str(self.taken)), Claim("third", str(self.root))]

    def check(self, workspace: object, agent: str = "me") -> str:
        return check_workspace(agent, str(workspace), root=self.root, home=self.home, claims=self.claims)

    def refusal(self, workspace: object) -> str:
        with pytest.raises(Refused) as caught:
            self.check(workspace)
        assert "\n" not in caught.value.line()
        assert caught.value.mend
        return caught.value.what


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_any_other_folder_is_fine_also_below_the_root_and_before_it_exists(place: Place) -> None:
    for fine in ("root/backend", "root/deep/er", "elsewhere", "state/other", "taken/beside", "roots"):
        assert place.check(place.folder / fine) == str(place.folder / fine)


def test_maestro_home_is_refused_from_all_sides(place: Place) -> None:
    assert "is MAESTRO_HOME" in place.refusal(place.home)
    assert "lies inside MAESTRO_HOME" in place.refusal(place.home / "snapshots/x")
    assert "contains MAESTRO_HOME" in place.refusal(place.folder / "state")


def test_what_maestro_keeps_elsewhere_is_refused_from_all_sides(place: Place) -> None:
    archive = place.folder / "shared" / "pair"
    neighbours = Neighbours(place.home, place.claims, [(str(archive), "the shared archive")])
    for folder, how in ((archive, "is"), (archive / "node", "lies inside"), (archive.parent, "contains")):
        with pytest.raises(Refused) as caught:
            neighbours.check("me", str(folder), place.root)
        assert f"{how} the shared archive" in caught.value.what
    assert neighbours.check("me", str(archive.parent / "pairs"), place.root)


def test_a_command_writes_no_file_where_it_would_be_part_of_what_lies_there(place: Place) -> None:
    neighbours = Neighbours(place.home, place.claims, [(place.folder / "shared/pair", "the shared archive")])
    (place.folder / "link").symlink_to(place.taken)
    for folder, whose in {
        place.taken / "deep": "the workspace of agent other",
        place.folder / "link": "the workspace of agent other",
        place.root / "third": "a folder of runs",
        place.home / "snapshots": "MAESTRO_HOME",
        place.folder / "shared/pair/node": "the shared archive",
    }.items():
        with pytest.raises(Refused) as caught:
            neighbours.check_file(str(folder / "x.tar.gz"), "--output")
        assert whose in caught.value.what and caught.value.where == "--output" and caught.value.mend
    for fine in (
        "taken/x.tar.gz",
        "root/x.tar.gz",
        "shared/x.tar.gz",
        "state/maestro/exports/x.jsonl",
        "taken/inner2/x",
    ):
        neighbours.check_file(str(place.folder / fine), "--output")


def test_another_agents_workspace_is_refused_from_all_sides(place: Place) -> None:
    assert "is the workspace of agent other" in place.refusal(place.taken)
    assert "lies inside the workspace of agent other" in place.refusal(place.taken / "x")
    assert "contains the workspace of agent other" in place.refusal(place.folder / "taken")
    assert place.check(place.taken, agent="other") == str(place.taken), "its own, again, is fine"


def test_the_root_and_what_contains_it_is_refused(place: Place) -> None:
    assert "is or contains MAESTRO_WORKSPACE_ROOT" in place.refusal(place.root)
    with pytest.raises(Refused, match="is or contains MAESTRO_WORKSPACE_ROOT"):
        check_workspace("me", str(place.folder), root=place.root, home="/nonexistent/home")


def test_the_root_of_another_agent_is_no_better(place: Place) -> None:
    claims = [Claim("far", str(place.folder / "far/root"))]
    with pytest.raises(Refused, match="is or contains MAESTRO_WORKSPACE_ROOT"):
        check_workspace("me", str(place.folder / "far"), root=place.root, home=place.home, claims=claims)


def test_folders_of_runs_are_refused_by_agent_or_by_their_mark(place: Place) -> None:
    for name in ("other", "third/t1/workspace", "me", "me/t1"):
        assert "the folder of the runs of agent" in place.refusal(place.root / name)
    folders.create(folders.place(place.root, "forgotten", "t1", 1), b"")
    assert "folder of runs" in place.refusal(place.root / "forgotten")
    assert "folder of runs" in place.refusal(place.root / "forgotten/t1/workspace")


def test_the_file_systems_root_and_home_directories_are_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "root of the file system" in place.refusal("/")
    assert "root of the file system" in place.refusal("/tmp/..")
    own = pwd.getpwuid(os.geteuid()).pw_dir
    assert "home directory" in place.refusal(own)
    user = place.folder / "users/me"
    user.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(user))
    assert "home directory" in place.refusal(user)
    assert "home directory" in place.refusal(user.parent)
    assert place.check(user / "project") == str(user / "project")


def test_a_file_and_what_lies_below_one_is_refused(place: Place) -> None:
    (place.folder / "file").write_text("")
    assert "is a file" in place.refusal(place.folder / "file")
    assert "lies below a file" in place.refusal(place.folder / "file/inner")


def test_links_and_dots_are_no_way_around(place: Place) -> None:
    (place.folder / "link").symlink_to(place.home)
    (place.folder / "loop").symlink_to(place.folder)
    (place.folder / "to-file").symlink_to("/etc/passwd")
    assert "is MAESTRO_HOME" in place.refusal(place.folder / "link")
    assert "lies inside MAESTRO_HOME" in place.refusal(place.folder / "link/x")
    assert "lies inside MAESTRO_HOME" in place.refusal(place.folder / "loop/loop/state/maestro/x")
    assert "the runs of agent me" in place.refusal(place.root / "b/../me")
    assert "is a file" in place.refusal(place.folder / "to-file")
    (place.folder / "around").symlink_to(place.folder / "round")
    (place.folder / "round").symlink_to(place.folder / "around")
    assert "cannot be reached" in place.refusal(place.folder / "around")


def test_a_link_to_a_good_folder_is_recorded_by_its_target(place: Place) -> None:
    (place.folder / "good").mkdir()
    (place.folder / "link").symlink_to("good")
    assert place.check(place.folder / "link/") == str(place.folder / "good")


@pytest.mark.parametrize(
    "workspace",
    ["", "relative", "../x", "/a\0b", "/" + "x" * 300, "/" + "x/" * 300, "/" + "x" * 200 + "/" + "y" * 4000],
)
def test_what_is_no_path_is_invalid(place: Place, workspace: str) -> None:
    with pytest.raises(Invalid) as caught:
        place.check(workspace)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize("name", ["with space", "new\nline", "\u202eright-to-left", "é", "-rf", "$(id)", "a;b"])
def test_odd_names_are_safe(place: Place, name: str) -> None:
    assert place.check(place.folder / name) == str(place.folder / name)
    (place.folder / "state" / name).write_text("")
    assert "is a file" in place.refusal(place.folder / "state" / name)


def test_an_agent_whose_runs_would_lie_in_a_workspace_is_refused(place: Place) -> None:
    claims = [
        Claim("a", str(place.root), str(place.root / "backend")),
        Claim("b", str(place.root), str(place.root / "deep/er")),
    ]
    for agent in ("backend", "deep"):
        with pytest.raises(Refused, match="give it another --name"):
            check_agent_id(agent, root=place.root, claims=claims)
    check_agent_id("fine", root=place.root, claims=claims)


def test_a_root_in_maestro_home_is_refused(place: Place) -> None:
    with pytest.raises(Refused, match="lies in, MAESTRO_HOME"):
        check_root(place.home / "workspaces", place.home)
    check_root(place.root, place.home)


def test_a_workspace_that_became_a_link_a_file_or_nothing_is_noticed(place: Place) -> None:
    workspace = place.folder / "ws"
    workspace.mkdir()
    check_unchanged(str(workspace))
    workspace.rmdir()
    with pytest.raises(Refused, match="is not there"):
        check_unchanged(str(workspace))
    workspace.symlink_to(place.home)
    with pytest.raises(Refused, match="is now a link"):
        check_unchanged(str(workspace))


def test_every_refusal_is_one_of_the_users_errors(place: Place) -> None:
    for odd in ("/dev/null", "/proc/self/root", "/dev/null/\n"):
        with pytest.raises(MaestroError):
            place.check(odd)
