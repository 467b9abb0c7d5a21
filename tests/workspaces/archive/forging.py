"""Forging archives with the archive's own tools, so that all digests in them are right, whatever they say."""

from __future__ import annotations

import hashlib
import io
import os
import struct

import msgspec

from maestro.workspaces.archive.export import outline
from maestro.workspaces.archive.export.gzip_members import GzipWriter
from maestro.workspaces.archive.export.outline import Branch, Head
from maestro.workspaces.archive.export.tar_headers import Member, header, padded
from maestro.workspaces.archive.format.entries import FILE, FOLDER, HARDLINK, SYMLINK, Entry

TAKEN_AT = 1_700_000_000 * 10**9


def entry(path: str, kind: str = FILE, content: bytes = b"content", **more: object) -> Entry:
    """An entry as its line would be."""
    made = Entry(path.encode(), kind, 0o755 if kind == FOLDER else 0o644, os.getuid(), os.getgid(), TAKEN_AT)
    if kind == FILE:
        made.size, made.digest = len(content), hashlib.sha256(content).digest()
    for name, value in more.items():
        setattr(made, name, value)
    return made


def honest(outside: str) -> list[Entry]:
    """A tree with links that lead out of it, which is nothing bad as long as nothing is written through them."""
    found = [entry("", FOLDER), entry("file"), entry("folder", FOLDER), entry("folder/file", content=b"inner" * 500)]
    found += [entry("link", SYMLINK, target=b"folder"), entry("out", SYMLINK, target=outside.encode())]
    found += [entry("hard", HARDLINK, target=b"file")]
    found += [entry(f"chain{number}", SYMLINK, target=f"chain{number - 1}".encode()) for number in range(1, 10)]
    found += [entry("chain0", SYMLINK, target=outside.encode())]
    return sorted(found, key=lambda one: one.path)


def lines_of(entries: list[Entry]) -> list[dict[str, object]]:
    """The lines of a manifest, to be edited."""
    return [msgspec.json.decode(msgspec.json.encode(outline._line(one))) for one in entries]


def head_of(lines: list[dict[str, object]], **more: object) -> dict[str, object]:
    """A first line that fits."""
    size = sum(int(str(line.get("size", 0))) for line in lines if line["kind"] == FILE)
    head = Head(1, "forged", "0" * 64, TAKEN_AT, {}, [Branch("ws", "/ws", len(lines), size, [], [])], [])
    return {**msgspec.json.decode(msgspec.json.encode(head)), **more}


def packed(raw: bytes) -> bytes:
    """A stream as members, with their digests, and the end."""
    out = io.BytesIO()
    writer = GzipWriter(out.write)  # type: ignore[arg-type]
    writer.write(raw)
    writer.finish()
    return out.getvalue()


def put(name: bytes, content: bytes, **more: object) -> bytes:
    """A member of a tar."""
    return header(msgspec.structs.replace(Member(name, mtime=TAKEN_AT, size=len(content)), **more)) + padded(content)


def contents(line: dict[str, object]) -> bytes:
    """What the files of the honest tree hold."""
    return b"inner" * 500 if line["path"] == "folder/file" else b"content"


def forged(lines: list[dict[str, object]], head: dict[str, object] | None = None) -> bytes:
    """An archive with this manifest, and everything after it as well as it can be made to fit."""
    first = msgspec.json.encode(head if head is not None else head_of(lines))
    manifest = b"\n".join([first, *(msgspec.json.encode(line) for line in lines)]) + b"\n"
    raw = put(outline.MANIFEST.encode(), manifest)
    sums, bodies = [outline._sum(hashlib.sha256(manifest).hexdigest(), outline.MANIFEST.encode())], []
    for line in lines:
        try:
            one = outline._entry(msgspec.convert(line, outline.Line))
            place = outline.placed("ws", one.path)
            if one.kind in (FILE, HARDLINK):
                sums.append(outline._sum((one.digest or hashlib.sha256(b"content").digest()).hex(), place))
            told = outline.member("ws", one)
            body = contents(line) if one.kind == FILE and one.size < 1 << 20 else b""
            bodies.append(
                header(told if told.kind in "dflh" else msgspec.structs.replace(told, kind=FILE)) + padded(body)
            )
        except Exception:
            bodies.append(b"")
    return packed(raw + put(outline.SUMS.encode(), b"".join(sums)) + b"".join(bodies))


def split(whole: bytes) -> list[bytes]:
    """The members of an archive."""
    found = []
    while whole:
        [size] = struct.unpack_from("<I", whole, 16)
        found.append(whole[:size])
        whole = whole[size:]
    return found
