"""The data of a manifest (entries, trees, snapshots), and the check that entries are safe to restore.

A manifest decides path, type, mode and link target of everything that a restore creates. Whoever made the manifest,
`check` therefore examines all of it before anything is created.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from maestro.model.errors import VerificationFailed

FORMAT = 1
FOLDER, FILE, SYMLINK, HARDLINK = "d", "f", "l", "h"
GONE, MOUNT, UNREAD = "", "m", "u"
"""Kinds of names that a scan saw and left out of the tree: vanished, a mount point, unreadable."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
DIGEST_BYTES = 32
NAME_BYTES_MAX = 255
TARGET_BYTES_MAX = 4095
XATTR_BYTES_MAX = 65_536
_SIZE_MAX = 1 << 62
TIME_MIN, TIME_MAX = -(1 << 63), (1 << 64) - 1  # 1677 to 2554 in ns, which 64 bits can say
ID_MAX = (1 << 32) - 2  # 2^32 - 1 means "no id" to the kernel
ENTRIES_MAX, BYTES_MAX = 5_000_000, 1 << 44  # of all trees of a snapshot
LONG_PATHS_BYTES_MAX = 1 << 28  # all paths of a tree that are longer than 1 KiB, together: see `limits`


class Piece(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A part of a large or sparse file.

    digest: SHA-256 of its bytes, b"" for a hole.
    length: in bytes.
    """

    digest: bytes
    length: int


class Entry(msgspec.Struct, array_like=True, gc=False, omit_defaults=True):
    """One name in a tree.

    path: relative to the tree, b"" for the tree's own folder.
    mtime: in ns.
    size, digest: bytes and SHA-256 of a regular file.
    pieces: the parts of a file in order, None where it is one chunk or empty.
    target: the text of a symlink, or the path of the file that a hard link is another name of.
    """

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    digest: bytes = b""
    pieces: list[Piece] | None = None
    target: bytes = b""
    xattrs: dict[bytes, bytes] | None = None

    def parts(self) -> list[Piece]:
        """The parts of a file in order; an empty list for an empty file."""
        if self.pieces is not None:
            return self.pieces
        return [Piece(self.digest, self.size)] if self.size else []


def room_of(entries: Iterable[Entry]) -> int:
    """The bytes that these files take on a disk: holes take none, and other names of a file neither."""
    return sum(piece.length for entry in entries if entry.kind == FILE for piece in entry.parts() if piece.digest)


class Tree(msgspec.Struct, array_like=True, frozen=True):
    """One tree of a snapshot.

    source: the folder that was read.
    root, depth: digest and number of levels of the tree's listing (see `listing`).
    entries, size: number of entries, and bytes of all files.
    left_out: sockets, pipes and devices in the folder, which no archive keeps.
    torn: files that changed each time they were read.
    """

    name: str
    source: bytes
    root: bytes
    depth: int
    entries: int
    size: int
    left_out: list[bytes]
    torn: list[bytes]


class Manifest(msgspec.Struct, array_like=True, frozen=True):
    """A snapshot: its trees and what the caller stored with it.

    taken_at: Unix time in ns.
    meta: the caller's own JSON values.
    """

    version: int
    snapshot: str
    taken_at: int
    meta: dict[str, object]
    trees: list[Tree]

    def tree(self, name: str) -> Tree:
        """The tree called `name`. Raises `VerificationFailed` where the snapshot has none."""
        for tree in self.trees:
            if tree.name == name:
                return tree
        raise VerificationFailed(f"it holds no tree {name!r}", where=f"snapshot {self.snapshot}")


def shown(path: bytes) -> str:
    """A path as printable text: bytes that are no UTF-8, and unprintable characters, become escapes."""
    text = path.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]


def located(tree: str, path: bytes) -> str:
    """The name of a tree's member in an error: `tree/path`."""
    return f"{tree}/{shown(path)}" if path else tree


class TreeNames:
    """Names of trees, entered one after the other: distinct, and none of them inside another one.

    A name consists of parts of letters, digits, dots, dashes and underscores, with `/` between them.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._above: set[str] = set()

    def add(self, name: str) -> bool:
        """Enter a name; whether it is one."""
        parts = name.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts))}
        is_apart = name not in self._names and name not in self._above and not above & self._names
        self._names.add(name)
        self._above |= above
        return is_apart and len(name) <= 255 and all(map(NAME.fullmatch, parts))


def are_tree_names(names: Iterable[str]) -> bool:
    """Whether these are names of trees, as `TreeNames` has them."""
    return all(map(TreeNames().add, names))


def impossible(entry: Entry) -> str:
    """Why the owner or the date of an entry cannot be stored; "" where both can."""
    if not TIME_MIN <= entry.mtime <= TIME_MAX:
        return "its date is before 1677 or after 2554"
    if not (0 <= entry.uid <= ID_MAX and 0 <= entry.gid <= ID_MAX):
        return "its owner is nobody's number"
    return ""


def check(tree: str, entries: Iterable[Entry]) -> None:
    """Check that these entries can be created inside one folder and nowhere else. Raises `VerificationFailed`.

    Entries must be in order of path, each path once and below a folder entry that came before; hard links must name
    regular files of the same tree.
    """
    kinds: dict[bytes, str] = {}
    before: bytes | None = None
    links = []
    for entry in entries:
        if before is None:
            if entry.path != b"" or entry.kind != FOLDER:
                raise _refused(tree, entry, "is not the tree's own folder, which comes first")
        elif entry.path <= before:
            raise _refused(tree, entry, "is there twice" if entry.path == before else "is not in order")
        else:
            _check_path(tree, entry, kinds)
        _check_values(tree, entry)
        _check_content(tree, entry)
        before = entry.path
        kinds[entry.path] = entry.kind
        if entry.kind == HARDLINK:
            links.append(entry)
    if before is None:
        raise VerificationFailed("nothing is in its listing", where=tree)
    for entry in links:
        if kinds.get(entry.target) != FILE:
            raise _refused(tree, entry, f"is a hardlink to {shown(entry.target)!r}, which is no file of this tree")


def _check_path(tree: str, entry: Entry, kinds: dict[bytes, str]) -> None:
    above, _, name = entry.path.rpartition(b"/")
    if name in (b"", b".", b"..") or b"\0" in name or len(name) > NAME_BYTES_MAX:
        raise _refused(tree, entry, "has a name that no file can have here")
    if kinds.get(above) != FOLDER:
        raise _refused(tree, entry, "lies in something that is no folder of this tree")


def _check_values(tree: str, entry: Entry) -> None:
    if entry.kind not in (FOLDER, FILE, SYMLINK, HARDLINK):
        raise _refused(tree, entry, f"is of the unknown kind {entry.kind!r}")
    if not 0 <= entry.mode <= 0o7777:
        raise _refused(tree, entry, f"has the impossible mode {entry.mode:o}")
    if why := impossible(entry):
        raise _refused(tree, entry, f"cannot be: {why}")
    for name, value in (entry.xattrs or {}).items():
        if not 0 < len(name) <= NAME_BYTES_MAX or b"\0" in name or len(value) > XATTR_BYTES_MAX:
            raise _refused(tree, entry, "has an impossible extended attribute")


def _check_content(tree: str, entry: Entry) -> None:
    if entry.kind == FILE:
        _check_file(tree, entry)
        return
    if entry.size or entry.digest or entry.pieces is not None:
        raise _refused(tree, entry, "has content, and is no file")
    if entry.kind == SYMLINK and (not 0 < len(entry.target) <= TARGET_BYTES_MAX or b"\0" in entry.target):
        raise _refused(tree, entry, "is a link to nothing that can be")
    if entry.kind == FOLDER and entry.target:
        raise _refused(tree, entry, "is a folder with a target")


def _check_file(tree: str, entry: Entry) -> None:
    if entry.target or len(entry.digest) != DIGEST_BYTES or not 0 <= entry.size < _SIZE_MAX:
        raise _refused(tree, entry, "has an impossible size or digest")
    if entry.pieces is None:
        return
    if any(piece.length <= 0 or len(piece.digest) not in (0, DIGEST_BYTES) for piece in entry.pieces):
        raise _refused(tree, entry, "has an impossible piece")
    if sum(piece.length for piece in entry.pieces) != entry.size:
        raise _refused(tree, entry, "has pieces that do not make up its size")


def _refused(tree: str, entry: Entry, why: str) -> VerificationFailed:
    return VerificationFailed(f"the member {why}", where=located(tree, entry.path), mend="do not trust this archive")
