"""A workspace that cannot be exchanged as a whole is old or new after any end of the process, entry by entry."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maestro.model.errors import Refused
from maestro.workspaces import moves
from maestro.workspaces.exchanges import entrywise, exchange
from maestro.workspaces.exchanges.exchange import Exchange
from tests.workspaces.archive.trees import Told, told
from tests.workspaces.mounted import in_namespace

INSTANTS = 90


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of which it is said that it cannot be moved, as no test may mount in front of others."""
    place = tmp_path / "ws"
    tree(place, "old", 0o750)
    monkeypatch.setattr(entrywise, "is_bound", lambda target: str(target) == str(place))
    return place


def tree(place: Path, content: str, mode: int) -> dict[bytes, Told]:
    place.mkdir()
    for name in ("both", content, f"folder-{content}/file", "folder/file", f".hidden-{content}"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(content)
        os.utime(place / name, ns=(10**18, 10**18))
    (place / f"link-{content}").symlink_to("both")
    os.utime(place / f"link-{content}", ns=(10**18, 10**18), follow_symlinks=False)
    for name in (f"folder-{content}", "folder"):
        os.utime(place / name, ns=(10**18, 10**18))
    os.setxattr(place, "user.said", content.encode())
    place.chmod(mode)
    os.utime(place, ns=(10**18, 10**18 + mode))
    return told(place)


def staged(one: Exchange, place: Path) -> dict[bytes, Told]:
    return tree(Path(one.stage(place)), "new", 0o755)


def test_entries_are_replaced_and_the_folder_is_what_the_new_one_is(bound: Path, tmp_path: Path) -> None:
    inode = bound.stat().st_ino
    with Exchange(tmp_path / "journal") as one:
        new = staged(one, bound)
        one.commit()
    assert (told(bound), bound.stat().st_ino) == (new, inode)
    assert sorted(os.listdir(tmp_path)) == ["journal", "ws"]


def test_without_a_commit_it_is_as_it_was(bound: Path, tmp_path: Path) -> None:
    old = told(bound)
    with Exchange(tmp_path / "journal") as one:
        staged(one, bound)
    assert told(bound) == old


@pytest.mark.parametrize("dies_again", [False, True])
@pytest.mark.parametrize("at", range(INSTANTS))
def test_ended_anywhere_the_next_start_ends_it(
    at: int, dies_again: bool, bound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every move, removal and sync is a place where it may end; so it may while it is mended."""
    old, new = told(bound), tree(tmp_path / "as", "new", 0o755)
    beside = tmp_path / "beside"
    tree(beside, "old", 0o750)
    left = [at]

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Ended
            return real(*args, **kwargs)

        return call

    def work() -> bool:
        one = None
        try:
            one = Exchange(tmp_path / "journal")
            if not bound_is_begun:
                staged(one, bound)
                staged(one, beside)
                one.commit()
        except Ended:
            return True
        finally:
            if one is not None:
                os.close(one._lock)  # all that the end of a process does
        return False

    bound_is_begun = False
    with monkeypatch.context() as patched:
        for owner, name in ((os, "fsync"), (os, "mkdir"), (os, "unlink"), (os, "rmdir"), (Path, "rename")):
            patched.setattr(owner, name, counted(getattr(owner, name)))
        patched.setattr(moves, "move", counted(moves.move))
        patched.setattr(entrywise, "move", moves.move)
        is_ended = work()
        if dies_again:
            left[0], bound_is_begun = at % 17, True
            work()
    assert not is_ended or at < INSTANTS - 1, "it has more instants than are tried"
    with Exchange(tmp_path / "journal") as one:
        assert one.lost == [] and one.left == []
    is_new = told(bound) == new
    assert is_new or told(bound) == old
    assert ((beside / "both").read_text() == "new") == is_new
    marks = [path.read_text() for path in (tmp_path / "journal").glob(f"{exchange.STAGE_PREFIX}*")]
    assert marks == (["new"] if is_new else [] if not marks else ["old"])
    assert sorted(os.listdir(tmp_path)) == ["as", "beside", "journal", "ws"]


def test_where_one_entry_cannot_be_moved_all_is_old(
    bound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, real = told(bound), moves.move

    def refusing(name: str, source: int, target: int) -> None:
        if name == "link-new":
            raise PermissionError(1, "Operation not permitted", name)
        real(name, source, target)

    monkeypatch.setattr(entrywise, "move", refusing)
    with pytest.raises(Refused, match=r"'link-new' cannot take its place.*nothing was changed"):
        with Exchange(tmp_path / "journal") as one:
            staged(one, bound)
            one.commit()
    assert told(bound) == old


def test_what_came_meanwhile_makes_way_and_is_not_lost(
    bound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = entrywise._move_new_in

    def coming(pair: entrywise.Pair, top: int, save: Callable[[], None]) -> None:
        (bound / "both").write_text("came")
        real(pair, top, save)

    monkeypatch.setattr(entrywise, "_move_new_in", coming)
    with Exchange(tmp_path / "journal") as one:
        staged(one, bound)
        one.commit()
    assert (bound / "both").read_text() == "new"
    (came,) = bound.glob("both.came-*")
    assert came.read_text() == "came"


@pytest.mark.parametrize("mount", ["bind(place / 'below', ws)", "tmpfs(ws)"])
def test_a_mount_point_is_restored_in_place(mount: str, tmp_path: Path) -> None:
    script = f"""
from maestro.workspaces.exchanges.exchange import Exchange
from maestro.workspaces.exchanges.places import check_place
from tests.workspaces.test_entrywise import staged, told
ws = place / "ws"
(place / "below").mkdir(); ws.mkdir()
{mount}
(ws / "old").write_text("old")
check_place(ws)
with Exchange(place / "journal") as one:
    new = staged(one, ws)
    one.commit()
assert told(ws) == new, (told(ws), new)
print(ws.is_mount() or Path("/proc/self/mountinfo").read_text().count(str(ws)))
"""
    assert in_namespace(script, tmp_path) in ("1", "True")


def test_below_a_folder_that_is_not_to_be_written_it_is_restored_in_place(tmp_path: Path) -> None:
    """As a user without root's rights: in a user namespace that maps nobody."""
    script = """
import os, sys
from pathlib import Path
from maestro.workspaces.exchanges.exchange import Exchange
from maestro.workspaces.exchanges.places import check_place
from tests.workspaces.test_entrywise import staged, told
place = Path(sys.argv[1])
ws = place / "above/ws"
assert not os.access(ws.parent, os.W_OK)
check_place(ws)
with Exchange(place / "journal") as one:
    new = staged(one, ws)
    one.commit()
assert told(ws) == new
print(os.listdir(ws.parent))
"""
    (tmp_path / "above/ws").mkdir(parents=True)
    (tmp_path / "above/ws/old").write_text("old")
    (tmp_path / "above").chmod(0o555)
    done = subprocess.run(
        ["unshare", "--user", sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": ".", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    (tmp_path / "above").chmod(0o755)
    assert (done.returncode, done.stdout.strip()) == (0, "['ws']"), done.stderr[-3000:]
