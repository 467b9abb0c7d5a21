"""An exchange leaves every workspace old, or every workspace new, whatever ends it and wherever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maestro.model.errors import Refused, VerificationFailed
from maestro.workspaces import exchange
from maestro.workspaces.exchange import Exchange, roll_forward


def folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def content(*paths: Path) -> list[str]:
    return [(path / "file").read_text() if path.exists() else "absent" for path in paths]


def staged(one: Exchange, target: Path) -> None:
    folder(Path(one.stage(target)), "new")


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


def test_the_short_form_does_the_same(tmp_path: Path, targets: list[Path]) -> None:
    stages = [folder(tmp_path / f"stage-{target.name}", "new") for target in targets]
    exchange.exchange(tmp_path / "journal", list(zip(stages, targets, strict=True)))
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
            patched.setattr(exchange, "_exchanged", counted(exchange._exchanged))
        else:
            patched.setattr(exchange, "_exchanged", lambda *_: False)
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
    real = exchange._exchanged

    def failing(one: str, other: str) -> bool:
        if other.endswith("/b") and Path(other, "file").read_text() == "old":
            raise PermissionError(1, "Operation not permitted", other)
        return real(one, other)

    monkeypatch.setattr(exchange, "_exchanged", failing)
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
        exchange.exchange(tmp_path / "journal", [(tmp_path / "absent", tmp_path / "real")])
    with pytest.raises(Refused):
        exchange.exchange(tmp_path / "journal", [(folder(tmp_path / "other/s", "new"), tmp_path / "real")])
    assert content(tmp_path / "real") == ["old"]


def test_a_journal_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    with Exchange(tmp_path / "journal"):
        pass
    (tmp_path / "journal/journal").write_text('{"state": "exch')
    with pytest.raises(VerificationFailed):
        roll_forward(tmp_path / "journal")


def test_a_folder_that_came_meanwhile_is_not_thrown_away(tmp_path: Path, targets: list[Path]) -> None:
    one = Exchange(tmp_path / "journal")
    staged(one, targets[0])
    exchange._identify(one._journal.pairs[0])
    one._write("exchanging")
    os.close(one._lock)
    targets[0].rename(tmp_path / "moved")
    folder(targets[0], "precious")
    with pytest.raises(Refused, match="another folder"):
        roll_forward(tmp_path / "journal")
    assert content(targets[0], tmp_path / "moved") == ["precious", "old"]
