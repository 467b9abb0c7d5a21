"""A workspace beside its archive: every name as it is, however hostile, and nothing outside of it is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from maestro.board.files import comparison, folder_now
from maestro.model.errors import Invalid, Refused
from maestro.runtime.restores.origin import StoredOrigin
from maestro.workspaces.archive.library import Archive

SECRET = "not for the board"
HOSTILE = (b"\xff\xfe", b"a\nb", b"<script>", b"\xe2\x80\xaegnp.exe", b"\\xff", b"sp ace", b"%2e%2e", b"x" * 255)


class Place:
    """A workspace, and an archive of it as it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir()
        (folder / "secret").write_text(SECRET)

    def archive(self) -> Place:
        archive = Archive(self.folder / "archive")
        archive.save([("ann", str(self.work))], "s1", _meta(str(self.work)))
        self.origin = StoredOrigin(archive, "s1")
        return self

    def put(self, name: bytes, data: bytes) -> None:
        Path(os.fsdecode(os.fsencode(self.work) + b"/" + name)).write_bytes(data)

    def rows(self) -> dict[str, Any]:
        found = comparison.compared(self.origin, "ann", str(self.work))
        return {row["path"]: row for row in found["files"]} | {"": found}

    def text(self, path: str) -> dict[str, Any]:
        return comparison.texts(self.origin, "ann", str(self.work), path)


def _meta(workspace: str) -> dict[str, object]:
    held = {"agent": "ann", "workspace": workspace, "tree": "ann", "position": 1}
    return {"namespace": "n", "node": "", "position": 1, "chain": "", "workspaces": [held]}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_each_kind_of_change_is_told_apart(place: Place) -> None:
    for name in (b"same", b"content", b"mode", b"time", b"kind", b"gone"):
        place.put(name, b"then")
    (place.work / "folder").mkdir()
    (place.work / "link").symlink_to("same")
    place.archive()
    place.put(b"content", b"more")
    place.put(b"new", b"12345")
    (place.work / "mode").chmod(0o755)
    os.utime(place.work / "time", (1, 1))
    (place.work / "kind").unlink()
    (place.work / "kind").mkdir()
    (place.work / "gone").unlink()
    (place.work / "link").unlink()
    (place.work / "link").symlink_to(place.folder / "secret")
    rows = place.rows()
    whole = rows.pop("")
    assert {path: row["change"] for path, row in rows.items()} == {
        **{"content": "changed", "mode": "mode", "time": "time", "kind": "changed", "link": "changed"},
        **{"gone": "removed", "new": "added"},
    }
    assert whole["same"] == 1 and not whole["cut"] and not whole["damaged"]
    assert (rows["gone"]["now"], rows["new"]["then"]) == (None, None)
    assert rows["new"]["now"] == {"kind": "file", "bytes": 5, "mode": "0644", "target": None}
    assert (rows["kind"]["then"]["kind"], rows["kind"]["now"]["kind"]) == ("file", "folder")
    assert rows["link"]["now"]["target"] == str(place.folder / "secret")
    text = place.text("content")
    assert (text["then"], text["now"]) == ("then", "more")
    assert (place.text("gone")["then"], place.text("gone")["now"]) == ("then", None)


def test_names_of_any_bytes_lead_to_their_file_on_both_sides(place: Place) -> None:
    for number, name in enumerate(HOSTILE):
        place.put(name, b"then %d" % number)
    place.archive()
    for number, name in enumerate(HOSTILE):
        place.put(name, b"now %d, longer" % number)
    place.put(b"\xfdnew", b"new")
    rows = place.rows()
    del rows[""]
    assert len(rows) == len(HOSTILE) + 1
    for path, row in rows.items():
        text = place.text(path)
        assert row["shown"].isprintable() and (text["now"] or "").endswith(("longer", "new"))
        assert row["change"] == "added" or text["then"].partition(" ")[2] == text["now"][4:].partition(",")[0]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../secret", "a/../../secret", "a//b", ".", "a\0b", "a/"])
def test_no_path_leads_out_of_the_workspace(place: Place, path: str) -> None:
    place.archive()
    with pytest.raises(Invalid):
        place.text(path)


def test_no_link_is_followed_and_no_pipe_opened(place: Place) -> None:
    (place.work / "folder").mkdir()
    place.put(b"folder/secret", b"mine")
    place.put(b"file", b"mine")
    place.archive()
    (place.work / "folder" / "secret").unlink()
    (place.work / "folder").rmdir()
    (place.work / "folder").symlink_to(place.folder)
    (place.work / "file").unlink()
    (place.work / "file").symlink_to(place.folder / "secret")
    os.mkfifo(place.work / "pipe")
    for path in ("folder/secret", "file", "pipe"):
        text = place.text(path)
        assert text["now"] is None and text["now_why"]
        assert text["then"] == (None if path == "pipe" else "mine")
    assert SECRET not in repr(place.rows())


def test_a_workspace_that_is_a_link_now_is_not_looked_at(place: Place) -> None:
    place.put(b"secret", b"mine")
    place.archive()
    place.work.rename(place.folder / "away")
    assert place.rows()["secret"]["change"] == "removed" and place.text("secret")["then"] == "mine"
    place.work.symlink_to(place.folder)
    for look in (place.rows, lambda: place.text("secret")):
        with pytest.raises(Refused, match="link"):
            look()


def test_large_and_binary_files_are_cut_or_only_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "TEXT_BYTES_MAX", 1000)
    monkeypatch.setattr(comparison, "FILES_MAX", 3)
    monkeypatch.setattr(folder_now, "HASHED_BYTES_MAX", 10)
    place.put(b"long", "a€".encode() * 5000)
    place.put(b"sparse", b"")
    os.truncate(place.work / "sparse", 32 << 20)
    place.put(b"binary", b"\0\1")
    place.archive()
    os.utime(place.work / "long", (1, 1))
    text = place.text("long")
    assert text["cut"] and text["then"] == text["now"] == "a€" * 250
    assert place.rows()["long"]["change"] == "changed"  # too long to be read only to say less
    assert place.text("sparse")["binary"] and place.text("sparse")["then_bytes"] == 32 << 20
    text = place.text("binary")
    assert text["binary"] and text["then"] is None and text["now_bytes"] == 2
    for number in range(5):
        place.put(b"%d" % number, b"")
    whole = place.rows()[""]
    assert whole["cut"] and len(whole["files"]) == 3 and whole["counts"]["added"] == 5


def test_a_damaged_archive_tells_so_beside_what_is_there_now(place: Place) -> None:
    place.put(b"file", os.urandom(5000))
    place.archive()
    place.put(b"file", b"now")
    (pack,) = (place.folder / "archive" / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[1000] ^= 1
    pack.write_bytes(data)
    text = place.text("file")
    assert text["now"] == "now" and text["then"] is None and "file" in text["then_why"]
