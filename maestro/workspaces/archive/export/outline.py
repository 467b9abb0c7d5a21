"""The manifest of an export: lines of JSON, the first for the snapshot, then one for each entry of each tree in order.

It is the first member and determines all others: the tar headers and SHA256SUMS follow from it byte by byte, so that a
reader makes them itself and compares.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from maestro.model.errors import Invalid, VerificationFailed
from maestro.workspaces.archive.export.tar_headers import Member
from maestro.workspaces.archive.format.entries import (
    BYTES_MAX,
    ENTRIES_MAX,
    FILE,
    FORMAT,
    HARDLINK,
    Entry,
    Piece,
    are_tree_names,
    check,
)

MANIFEST = "maestro-manifest.jsonl"
SUMS = "SHA256SUMS"
_DATA = bytes(32)  # in place of the digest of a piece: an export has digests of whole files only
_SAFE = "".join(chr(code) for code in range(33, 127) if chr(code) != "%") + " "
_PLAIN = re.compile(rb"[ -$&-~]*")


class Limits(msgspec.Struct, frozen=True):
    """How much an archive of unknown origin may ask for.

    bytes: of all files together, including holes.
    entries: of all trees together.
    """

    bytes: int = BYTES_MAX
    entries: int = ENTRIES_MAX


class Extra(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file that the caller put into an export."""

    name: str
    size: int
    sha256: str


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tree in an export.

    entries: how many lines it has; size: bytes of all its files; paths are quoted as in `Line`.
    """

    name: str
    source: str
    entries: int
    size: int
    left_out: list[str]
    torn: list[str]


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of the manifest. manifest: the id of the archive's own manifest that the export was made from."""

    format: int
    snapshot: str
    manifest: str
    taken_at: int
    meta: dict[str, object]
    trees: list[Branch]
    extras: list[Extra]


class Line(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """The line of an entry.

    path, target: URL-quoted where they are not plain ASCII.
    holes: (offset, length) of each.
    xattrs: values in base64.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    sha256: str = ""
    holes: list[tuple[int, int]] = []
    target: str = ""
    xattrs: dict[str, str] = {}


_encoder = msgspec.json.Encoder()
_line_decoder = msgspec.json.Decoder(Line)
_head_decoder = msgspec.json.Decoder(Head)


def encode(head: Head, trees: Sequence[Sequence[Entry]]) -> bytes:
    """The manifest of an export. trees: the entries of each tree of `head`, in the same order."""
    lines = [_encoder.encode(head)]
    lines += [_encoder.encode(_line(entry)) for entries in trees for entry in entries]
    return b"\n".join(lines) + b"\n"


def decode(content: bytes | bytearray, limits: Limits) -> tuple[Head, list[list[Entry]]]:
    """Parse and check a manifest of unknown origin, so that nothing in it exceeds what a tree can be.

    Raises `VerificationFailed` naming the member, `Invalid` for another version.
    """
    end = content.find(b"\n") + 1
    try:
        version = msgspec.json.decode(content[:end], type=dict[str, object]).get("format")
        if version != FORMAT:
            raise Invalid(f"has the format {version!r}, not {FORMAT}", MANIFEST, "use the Maestro that made it")
        head = _head_decoder.decode(content[:end])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise VerificationFailed(f"its first line cannot be read: {error}", where=MANIFEST) from None
    _check_head(head, limits)
    trees: list[list[Entry]] = []
    lines = _lines(content, end)
    total = 0
    for branch in head.trees:
        entries = list(islice(lines, branch.entries))
        if len(entries) != branch.entries:
            raise VerificationFailed("it ends early", where=MANIFEST)
        check(branch.name, entries)
        size = sum(entry.size for entry in entries if entry.kind == FILE)
        total += size
        if size != branch.size:
            raise VerificationFailed("its files do not add up to its size", where=branch.name)
        trees.append(entries)
    if next(lines, None) is not None:
        raise VerificationFailed("it goes on after its last entry", where=MANIFEST)
    if total > limits.bytes:
        raise VerificationFailed(f"its files have {total:,} bytes, more than {limits.bytes:,}", where=MANIFEST)
    return head, trees


def sums(head: Head, trees: Sequence[Sequence[Entry]], manifest: bytes | bytearray) -> bytes:
    """The content of SHA256SUMS for all files of the export, as `sha256sum -c` reads it."""
    lines = [_sum(hashlib.sha256(manifest).hexdigest(), MANIFEST.encode())]
    lines += [_sum(extra.sha256, extra.name.encode()) for extra in head.extras]
    for branch, entries in zip(head.trees, trees, strict=True):
        digests = {entry.path: entry.digest.hex() for entry in entries if entry.kind == FILE}
        for entry in entries:
            if entry.kind in (FILE, HARDLINK):
                digest = digests[entry.path if entry.kind == FILE else entry.target]
                lines.append(_sum(digest, placed(branch.name, entry.path)))
    return b"".join(lines)


def placed(tree: str, path: bytes) -> bytes:
    """The path of an entry inside the archive."""
    return tree.encode() + b"/" + path if path else tree.encode()


def member(tree: str, entry: Entry) -> Member:
    """The tar member of an entry."""
    target = placed(tree, entry.target) if entry.kind == HARDLINK else entry.target
    name = placed(tree, entry.path)
    return Member(
        name, entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, target, xattrs=entry.xattrs
    )


def quoted(path: bytes) -> str:
    """A path as text: unchanged where it is plain ASCII, else percent-encoded."""
    return path.decode() if _PLAIN.fullmatch(path) else quote_from_bytes(path, _SAFE)


def _check_head(head: Head, limits: Limits) -> None:
    names = [*(branch.name for branch in head.trees), *(extra.name for extra in head.extras)]
    if not are_tree_names([*names, MANIFEST, SUMS]):
        raise VerificationFailed("its trees or files have impossible names", where=MANIFEST)
    if any(not re.fullmatch("[0-9a-f]{64}", extra.sha256) or extra.size < 0 for extra in head.extras):
        raise VerificationFailed("one of its files has an impossible size or digest", where=MANIFEST)
    if any(branch.entries < 1 for branch in head.trees) or sum(tree.entries for tree in head.trees) > limits.entries:
        raise VerificationFailed(f"it has no, or more than {limits.entries:,}, entries", where=MANIFEST)
    if sum(extra.size for extra in head.extras) > limits.bytes:
        raise VerificationFailed(f"its files have more than {limits.bytes:,} bytes", where=MANIFEST)
    if not -(1 << 62) < head.taken_at < 1 << 62:
        raise VerificationFailed("it was taken at an impossible time", where=MANIFEST)


def _lines(content: bytes | bytearray, start: int) -> Iterator[Entry]:
    number = 1
    while start < len(content):
        number += 1
        end = content.find(b"\n", start) + 1 or len(content)
        try:
            yield _entry(_line_decoder.decode(content[start:end]))
        except (msgspec.MsgspecError, ValueError) as error:
            raise VerificationFailed(f"its line {number} cannot be read: {error}", where=MANIFEST) from None
        start = end


def _line(entry: Entry) -> Line:
    line = Line(quoted(entry.path), entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime)
    if entry.kind == FILE:
        line.size, line.sha256 = entry.size, entry.digest.hex()
        at = 0
        for piece in entry.parts():
            if not piece.digest:
                line.holes = [*line.holes, (at, piece.length)]
            at += piece.length
    line.target = quoted(entry.target)
    if entry.xattrs:
        line.xattrs = {quoted(name): base64.b64encode(value).decode() for name, value in entry.xattrs.items()}
    return line


def _entry(line: Line) -> Entry:
    entry = Entry(unquote_to_bytes(line.path), line.kind, line.mode, line.uid, line.gid, line.mtime, line.size)
    entry.digest = bytes.fromhex(line.sha256)
    entry.target = unquote_to_bytes(line.target)
    if line.holes:
        entry.pieces = _pieces(line)
    if line.xattrs:
        found = line.xattrs.items()
        entry.xattrs = {unquote_to_bytes(name): base64.b64decode(value, validate=True) for name, value in found}
    return entry


def _pieces(line: Line) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for offset, length in line.holes:
        if offset > at:
            pieces.append(Piece(_DATA, offset - at))
        pieces.append(Piece(b"", length))
        at = offset + length
    if at < line.size:
        pieces.append(Piece(_DATA, line.size - at))
    if any(piece.length <= 0 for piece in pieces):
        raise ValueError("its holes are not in order")
    return pieces


def _sum(digest: str, name: bytes) -> bytes:
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != name else b"") + digest.encode() + b"  " + escaped + b"\n"
