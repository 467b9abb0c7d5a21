"""An exchange leaves every workspace old, or every workspace new, whatever ends it and wherever."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from maestro.model.errors import Refused, VerificationFailed
from maestro.workspaces.exchanges import exchange, pairs
from maestro.workspaces.exchanges.exchange import Exchange
from maestro.workspaces.exchanges.pairs import Pair
from tests.counting import calls


def folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def content(*paths: Path) -> list[str]:
    return [(path / "file").read_text() if path.exists() else "absent" for path in paths]


def staged(one: Exchange, target: Path) -> None:
    folder(Path(one.stage(target)), "new")


def exchanged(journal: Path, stages: list[Path], targets: list[Path]) -> None:
    """Put stages that are there already in the places of their targets."""
    with Exchange(journal) as one:
        for stage, target in zip(stages, targets, strict=True):
            one._add(Pair(str(stage), str(target)))
        one.commit()


def roll_forward(journal: Path) -> list[str]:
    """End the exchange that a process which is gone had begun; the targets that are new."""
    with Exchange(journal) as one:
        return one.completed


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def targets(tmp_path: Path) -> list[Path]:
    return [folder(tmp_path / "a", "old"), folder(tmp_path / "b", "old"), tmp_path / "c"]


def test_stages_take_the_places_of_their_targets(tmp_path: Path, targets: list[Path]) -> None:
    with Exchange(tmp_path / "journal") as one:
        for target in targets:
            staged(one, target)
        one.commit()
    assert content(*targets) == ["new"] * 3
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c", "journal"]


def test_stages_of_any_name_beside_their_targets_do_the_same(tmp_path: Path, targets: list[Path]) -> None:
    stages = [folder(tmp_path / f"stage-{target.name}", "new") for target in targets]
    exchanged(tmp_path / "journal", stages, targets)
    assert content(*targets) == ["new"] * 3
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c", "journal"]


def test_without_a_commit_everything_is_as_it_was(tmp_path: Path, targets: list[Path]) -> None:
    with Exchange(tmp_path / "journal") as one:
        staged(one, targets[0])
        one.stage(targets[1])
    assert content(*targets) == ["old", "old", "absent"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "journal"]


def test_a_second_restore_is_refused(tmp_path: Path, targets: list[Path]) -> None:
    with Exchange(tmp_path / "journal"):
        with pytest.raises(Refused, match="another restore"):
            Exchange(tmp_path / "journal")
    assert roll_forward(tmp_path / "journal") == []


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("at", range(0, 40, 3))
def test_ended_anywhere_it_is_completed_or_undone(
    at: int, can_exchange: bool, tmp_path: Path, targets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename and every sync is a place where it may end."""
    left = [at]

    def counted(real: object) -> object:
        def call(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Ended
            return real(*args, **kwargs)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", counted(os.fsync))
        patched.setattr(os, "rename", counted(os.rename))
        if can_exchange:
            patched.setattr(pairs, "exchange_folders", counted(pairs.exchange_folders))
        else:
            patched.setattr(pairs, "exchange_folders", lambda *_: False)
        patched.setattr(Path, "rename", counted(Path.rename))
        one = None
        try:
            one = Exchange(tmp_path / "journal")
            for target in targets:
                staged(one, target)
            one.commit()
        except Ended:
            pass
        if one is not None:
            os.close(one._lock)  # all that the end of a process does
    done = roll_forward(tmp_path / "journal")
    assert content(*targets) in (["new"] * 3, ["old", "old", "absent"])
    assert not done or content(*targets) == ["new"] * 3
    names = set(os.listdir(tmp_path)) - {"a", "b", "c"}
    assert names == {"journal"}
    assert set(os.listdir(tmp_path / "journal")) <= {"lock", "journal.fresh"}


def test_where_one_cannot_take_its_place_all_are_old(
    tmp_path: Path, targets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pairs.exchange_folders

    def failing(one: str, other: str) -> bool:
        if other.endswith("/b") and Path(other, "file").read_text() == "old":
            raise PermissionError(1, "Operation not permitted", other)
        return real(one, other)

    monkeypatch.setattr(pairs, "exchange_folders", failing)
    with pytest.raises(Refused, match="nothing was changed"):
        with Exchange(tmp_path / "journal") as one:
            for target in targets:
                staged(one, target)
            one.commit()
    assert content(*targets) == ["old", "old", "absent"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "journal"]


def test_what_is_no_folder_beside_its_stage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(folder(tmp_path / "real", "old"))
    (tmp_path / "other").mkdir()
    for target in (tmp_path / "file", tmp_path / "link"):
        with pytest.raises(Refused):
            with Exchange(tmp_path / "journal") as one:
                staged(one, target)
                one.commit()
    with pytest.raises(Refused):
        exchanged(tmp_path / "journal", [tmp_path / "absent"], [tmp_path / "real"])
    with pytest.raises(Refused):
        exchanged(tmp_path / "journal", [folder(tmp_path / "other/s", "new")], [tmp_path / "real"])
    assert content(tmp_path / "real") == ["old"]


def test_a_journal_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    with Exchange(tmp_path / "journal"):
        pass
    (tmp_path / "journal/journal").write_text('{"state": "exch')
    with pytest.raises(VerificationFailed):
        roll_forward(tmp_path / "journal")


def ended_exchanging(journal: Path, targets: list[Path], done: int = 0) -> Exchange:
    """A process that ended when so many of the stages had taken their places."""
    one = Exchange(journal)
    for target in targets:
        staged(one, target)
    for pair in one._journal.pairs:
        exchange.identify(pair)
    one._write("exchanging")
    for pair in one._journal.pairs[:done]:
        pairs.put(pair, True)
    os.close(one._lock)
    return one


def recovered(journal: Path) -> Exchange:
    """What the next process finds; a third one finds nothing more to do."""
    one = Exchange(journal)
    one.close()
    with Exchange(journal) as again:
        assert (again.completed, again.lost) == ([], [])
    return one


def test_a_folder_that_came_meanwhile_is_not_thrown_away_and_the_others_go_back(
    tmp_path: Path, targets: list[Path]
) -> None:
    ended_exchanging(tmp_path / "journal", targets, done=1)
    targets[1].rename(tmp_path / "moved")
    folder(targets[1], "precious")
    one = recovered(tmp_path / "journal")
    assert content(*targets, tmp_path / "moved") == ["new", "precious", "new", "old"]
    assert one.completed == [str(targets[0]), str(targets[2])]
    assert one.lost == [(str(targets[1]), "another folder is in its place")]


@pytest.mark.parametrize("done", [0, 1, 2])
def test_where_a_stage_is_gone_and_all_can_go_back_all_are_old(tmp_path: Path, targets: list[Path], done: int) -> None:
    one = ended_exchanging(tmp_path / "journal", targets, done)
    shutil.rmtree(one._journal.pairs[2].stage)  # by a cleaner
    after = recovered(tmp_path / "journal")
    assert content(*targets) == ["old", "old", "absent"]
    assert (after.completed, after.lost) == ([], [])
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "journal"]


@pytest.mark.parametrize("done", [0, 1, 2, 3])
@pytest.mark.parametrize("with_stage", [True, False])
def test_a_workspace_that_is_gone_is_named_and_the_journal_ends(
    tmp_path: Path, targets: list[Path], done: int, with_stage: bool
) -> None:
    """As after a restart of the machine that empties /tmp."""
    one = ended_exchanging(tmp_path / "journal", targets, done)
    shutil.rmtree(targets[1])
    if with_stage:
        shutil.rmtree(one._journal.pairs[1].stage)
    after = recovered(tmp_path / "journal")
    found = content(*targets)
    if with_stage:
        assert found == ["new", "absent", "new"]
        assert after.lost == [(str(targets[1]), "the folder is gone")]
    elif done < 2:
        assert found == ["new"] * 3 and not after.lost  # what was to be put there was there still
    else:
        assert found == ["old", "old", "absent"] and not after.lost
    assert sorted(os.listdir(tmp_path)) == [name for name in ("a", "b", "c", "journal") if (tmp_path / name).exists()]


def test_all_folders_and_what_they_lie_in_may_be_gone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    gone = [folder(tmp_path / "in/a", "old"), folder(tmp_path / "in/b", "old")]
    ended_exchanging(tmp_path / "journal", gone, done=1)
    shutil.rmtree(tmp_path / "in")
    after = recovered(tmp_path / "journal")
    assert after.lost == [(str(target), "the folder is gone") for target in gone]


def test_a_device_that_has_another_number_after_a_restart_of_the_machine_is_the_same(
    tmp_path: Path, targets: list[Path]
) -> None:
    one = ended_exchanging(tmp_path / "journal", targets, done=1)
    for pair in one._journal.pairs:
        pair.boot = "before"
        pair.new = (pair.new[0] + 1, pair.new[1]) if pair.new else None
        pair.old = (pair.old[0] + 1, pair.old[1]) if pair.old else None
    one._write("exchanging")
    after = recovered(tmp_path / "journal")
    assert content(*targets) == ["new"] * 3 and after.completed == [str(target) for target in targets]


def test_two_stages_for_one_place_or_one_inside_another_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    target = folder(tmp_path / "a", "old")
    (tmp_path / "a/deep").mkdir()
    for other in (target, tmp_path / "a/deep"):
        with pytest.raises(Refused), Exchange(tmp_path / "journal") as one:
            staged(one, target)
            staged(one, other)
            one.commit()
        assert content(target) == ["old"] and not list(tmp_path.glob(f"{exchange.STAGE_PREFIX}*"))


def test_many_stages_are_recorded_at_once_and_brought_to_the_disk_by_one_call(tmp_path: Path) -> None:
    targets = [folder(tmp_path / f"w{number}", "old") for number in range(40)]

    def fill_and_commit(one: Exchange) -> None:
        for stage in stages:
            folder(Path(stage), "new")
        one.commit()

    stages: list[str] = []
    with Exchange(tmp_path / "journal") as one:
        assert calls(lambda: stages.extend(one.stages(targets)))["fsync"] <= 2
        assert calls(lambda: fill_and_commit(one))["_sync_file_system"] == 1
    assert content(*targets) == ["new"] * 40
