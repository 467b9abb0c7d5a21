"""Hostile and damaged archives: each must be refused.

`corpus` yields (name, bytes): edited manifests with right digests, tars that are not what their manifest says, bombs,
what other programs make, and an honest archive flipped, cut and put together wrongly.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import tarfile
import zlib
from collections.abc import Iterator

import msgspec

from maestro.workspaces.archive.export import outline
from maestro.workspaces.archive.export.gzip_members import END_OF_TAR, member, stored
from maestro.workspaces.archive.export.outline import Branch, Head
from maestro.workspaces.archive.export.tar_headers import header, padded
from maestro.workspaces.archive.format.entries import FILE, FOLDER, HARDLINK, SYMLINK
from tests.workspaces.archive.forging import (
    TAKEN_AT,
    contents,
    entry,
    forged,
    head_of,
    honest,
    lines_of,
    packed,
    put,
    split,
)

HOSTILE_PATHS = [
    "..", "../x", "../../../../tmp/x", "folder/../../x", "folder/..", "/etc/passwd", "//x", "/", "./x", ".", "folder/.",
    "folder//x", "folder/", "x/", "%00", "x%00y", "x" * 256, "folder/" + "y" * 300, "absent/x", "file/x", "link/x",
    "link/../x", "chain9/x", "out/x", "folder/" + "../" * 50 + "x", "%2e%2e/x", "%2Fetc%2Fpasswd", "folder%2F..%2Fx",
    "d/" * 10_001 + "x", "hard/x",
]  # fmt: skip


def corpus(outside: str) -> Iterator[tuple[str, bytes]]:
    """Every archive that must be refused."""
    lines = lines_of(honest(outside))
    yield from paths(lines)
    yield from links(lines, outside)
    yield from values(lines)
    yield from heads(lines)
    yield from tars(outside)
    yield from bombs(lines)
    yield from foreign(outside)
    yield from broken(forged(lines))


def with_line(lines: list[dict[str, object]], line: dict[str, object]) -> list[dict[str, object]]:
    """The lines with one more, in order as well as it goes."""
    return [lines[0], *sorted([*lines[1:], line], key=lambda one: str(one["path"]))]


def paths(lines: list[dict[str, object]]) -> Iterator[tuple[str, bytes]]:
    """Names that lead out, through a link, to something that is no folder, or nowhere."""
    for kind in (FILE, FOLDER, SYMLINK, HARDLINK):
        for number, path in enumerate(HOSTILE_PATHS):
            [line] = lines_of([entry("x", kind, target=b"file" if kind in (SYMLINK, HARDLINK) else b"")])
            line["path"] = path
            yield f"path {kind} {number} {path[:40]}", forged(with_line(lines, line))
            if number < 8:  # out of order, so that the order is not what refuses it alone
                yield f"path last {kind} {number} {path[:40]}", forged([*lines, line])
    deep = [entry("", FOLDER)]
    for level in range(1, 17):  # the chain of links whose real path grows beyond PATH_MAX
        deep.append(entry("/".join(["d" * 247] * level), FOLDER))
    for level in range(16):
        above = "".join("d" * 247 + "/" for _ in range(level))
        deep.append(entry(f"{above}e", SYMLINK, target=b"d" * 247))
    deep.append(entry("/".join(["e"] * 16) + "/escape", SYMLINK, target=b"../" * 16))
    deep.append(entry("/".join(["e"] * 16) + "/escape/x"))
    yield "path chain beyond PATH_MAX", forged(lines_of(sorted(deep, key=lambda one: one.path)))


def links(lines: list[dict[str, object]], outside: str) -> Iterator[tuple[str, bytes]]:
    """Hardlinks to anything but a file of the tree, symlinks that cannot be."""
    targets = ["", "/etc/passwd", "../x", outside.lstrip("/"), outside, "absent", "folder", "link", "out", "zz", "hard",
               "out/sentinel", "link/file", "file/", "./file", "folder/../file", "chain9", "%00"]  # fmt: skip
    for target in targets:
        [line] = lines_of([entry("zz", HARDLINK)])
        yield f"hardlink to {target[:30]}", forged([*lines, {**line, "target": target}])
    for target in ("", "%00", "x%00", "x" * 4096):
        [line] = lines_of([entry("zz", SYMLINK)])
        yield f"symlink to {target[:30]!r}", forged([*lines, {**line, "target": target}])


def values(lines: list[dict[str, object]]) -> Iterator[tuple[str, bytes]]:
    """Entries that say what cannot be."""
    edits: list[dict[str, object]] = [{"kind": kind} for kind in ("b", "c", "p", "s", "", "F", "dd", "L", "D", "x")]
    edits += [{"mode": mode} for mode in (-1, 0o10000, 1 << 31, 1 << 70, "644", None, 1.5)]
    edits += [{"uid": value} for value in (-1, 1 << 32, "root")] + [{"gid": value} for value in (-2, 1 << 40)]
    edits += [{"mtime": value} for value in (1 << 64, -(1 << 63) - 1, 1 << 80, "now")]
    edits += [{"size": value} for value in (-1, 0, 6, 8, 1 << 40, 1 << 62, 1 << 63, 10**30, "7")]
    edits += [{"sha256": value} for value in ("", "0" * 64, "zz", "00", "0" * 66, hashlib.sha256(b"x").hexdigest())]
    edits += [{"target": "file"}, {"path": 7}, {"extra": 1}, {"path": None}]
    holes: list[object] = [[[0, 100]], [[0, -1]], [[5, 1], [0, 1]], [[0, 7]], [[0, 0]], [[1 << 70, 1]], [[0]], "x"]
    edits += [{"holes": value} for value in holes]
    xattrs: list[object] = [
        {"": ""},
        {"user." + "x" * 300: ""},
        {"user.x": "!"},
        {"user.x": "QQ" * 80_000},
        {"%00": ""},
    ]
    edits += [{"xattrs": value} for value in xattrs]
    for edit in edits:
        edited = [({**line, **edit} if line["path"] == "file" else line) for line in lines]
        try:
            yield f"value {str(edit)[:60]}", forged(edited)
        except ValueError:
            yield f"value {str(edit)[:60]}", forged(edited, head_of(lines))
    for kind in (FOLDER, SYMLINK, HARDLINK):
        edited = [({**line, "size": 7, "sha256": "0" * 64} if line["kind"] == kind else line) for line in lines]
        yield f"value content of {kind}", forged(edited)
    for name in ("file", "folder", "link", "hard"):
        twice = [copy for line in lines for copy in ([line] * 2 if line["path"] == name else [line])]
        yield f"value {name} twice", forged(twice)
    yield "value backwards", forged([lines[0], *reversed(lines[1:])])
    yield "value no top", forged(lines[1:])
    yield "value top is a link", forged([{**lines[0], "kind": SYMLINK, "target": "/tmp"}, *lines[1:]])
    yield "value nothing", forged([])


def heads(lines: list[dict[str, object]]) -> Iterator[tuple[str, bytes]]:
    """First lines of other versions, and that do not fit."""
    for version in (0, 2, 99, -1, "1", None, [], 1.5, 10**30):
        yield f"head version {version}", forged(lines, head_of(lines, format=version))
    for edit in (
        {"snapshot": 1}, {"trees": "x"}, {"taken_at": 1 << 63}, {"taken_at": -1}, {"unknown": 1}, {"manifest": None},
        {"extras": [{"name": "../x", "size": 1, "sha256": "0" * 64}]}, {"meta": []},
        {"extras": [{"name": "ws/x", "size": 1, "sha256": "0" * 64}]},
        {"extras": [{"name": "x", "size": -1, "sha256": "0" * 64}]},
        {"extras": [{"name": "x", "size": 1 << 60, "sha256": "0" * 64}]},
        {"extras": [{"name": "x", "size": 1, "sha256": "/../"}]},
        {"extras": [{"name": "x", "size": 1, "sha256": "0" * 64}]},
        {"extras": [{"name": "SHA256SUMS", "size": 1, "sha256": "0" * 64}]},
    ):  # fmt: skip
        yield f"head {str(edit)[:70]}", forged(lines, head_of(lines, **edit))
    [branch] = msgspec.convert(head_of(lines)["trees"], list[dict[str, object]])
    for edit in (
        {"name": ".."}, {"name": "../ws"}, {"name": "/ws"}, {"name": ""}, {"name": "ws/"}, {"name": "w s"},
        {"entries": 0}, {"entries": -1}, {"entries": len(lines) + 1}, {"entries": len(lines) - 1},
        {"entries": 1 << 40}, {"size": 0}, {"size": -5}, {"size": 1 << 62}, {"name": "x" * 300},
    ):  # fmt: skip
        yield f"head tree {str(edit)[:40]}", forged(lines, head_of(lines, trees=[{**branch, **edit}]))
    yield "head two trees of a name", forged(lines, head_of(lines, trees=[branch, branch]))
    raw = put(outline.MANIFEST.encode(), b"[" * 200_000 + b"\n")
    yield "head nested", packed(raw)
    yield "head no JSON", packed(put(outline.MANIFEST.encode(), b"hello\n"))
    yield "head empty", packed(put(outline.MANIFEST.encode(), b""))


def tars(outside: str) -> Iterator[tuple[str, bytes]]:
    """Tars that are not what their manifest says, in right members with right digests."""
    entries = honest(outside)
    manifest_head = Head(1, "f", "0" * 64, TAKEN_AT, {}, [Branch("ws", "/ws", len(entries), 2507, [], [])], [])
    manifest = outline.encode(manifest_head, [entries])
    sums = outline.sums(manifest_head, [entries], manifest)
    parts = [put(outline.MANIFEST.encode(), manifest), put(outline.SUMS.encode(), sums)]
    parts += [
        header(outline.member("ws", one)) + padded(contents({"path": one.path.decode()}) if one.kind == FILE else b"")
        for one in entries
    ]
    assert packed(b"".join(parts))
    for at in range(len(parts)):
        yield f"tar without part {at}", packed(b"".join(parts[:at] + parts[at + 1 :]))
        yield f"tar with part {at} twice", packed(b"".join(parts[: at + 1] + parts[at:]))
        if at + 1 < len(parts):
            yield (
                f"tar with part {at} late",
                packed(b"".join([*parts[:at], parts[at + 1], parts[at], *parts[at + 2 :]])),
            )
    evil = [put(b"../evil", b"x"), put(b"/tmp/evil", b"x"), put(b"ws/evil", b"x"), put(b"ws/file", b"content")]
    evil += [put(b"ws/evil", b"", kind=SYMLINK, target=outside.encode()), bytes(512), b"x" * 512]
    device = bytearray(put(b"ws/null", b""))
    for kind in b"34567LKgxSV":
        device[156] = kind
        evil.append(bytes(device))
    for number, one in enumerate(evil):
        for at in (1, 2, 5, len(parts)):
            yield f"tar with {number} at {at}", packed(b"".join([*parts[:at], one, *parts[at:]]))
    for at, value in (
        (156, 0x33),
        (156, 0x32),
        (0, 0x2F),
        (100, 0x37),
        (108, 0x37),
        (124, 0x37),
        (136, 0x37),
        (257, 1),
    ):
        for part in (0, 1, 3, 5):
            edited = bytearray(parts[part])
            edited[at] ^= value
            yield (
                f"tar part {part} edited at {at}",
                packed(b"".join([*parts[:part], bytes(edited), *parts[part + 1 :]])),
            )
    body = bytearray(parts[1])
    body[600] ^= 1
    yield "tar other sums", packed(b"".join([parts[0], bytes(body), *parts[2:]]))
    yield "tar ends early", packed(b"".join(parts[:-1]))
    yield "tar with content between", packed(b"".join([*parts, b"more" * 128]))
    yield "tar with zeros between", packed(b"".join([*parts, bytes(10240)]))
    yield "tar empty", packed(b"")


def bombs(lines: list[dict[str, object]]) -> Iterator[tuple[str, bytes]]:
    """Archives that would grow."""
    for size in (1 << 30, 1 << 40, 1 << 50, 1 << 61):
        big = [({**line, "size": size} if line["path"] == "file" else line) for line in lines]
        yield f"bomb says {size}", forged(big)
        holes = [({**line, "size": size, "holes": [[0, size]]} if line["path"] == "file" else line) for line in lines]
        yield f"bomb of holes {size}", forged(holes)
    letters = zlib.compress(b"a" * (1 << 20), 9, wbits=-15)
    yield "bomb in one member", member(b"a" * (1 << 20), letters, bytes(32))
    lie = zlib.compress(bytes(300 << 20), 9, wbits=-15)
    for raw_size in (1024, 1 << 20):
        yield f"bomb that says {raw_size}", lying(lie, raw_size)
    huge = put(outline.MANIFEST.encode(), b"")[:124] + b"77777777777" + put(outline.MANIFEST.encode(), b"")[135:]
    yield "bomb of a manifest header", packed(huge)
    content = b"\n" * (60 << 20)
    yield "bomb of a manifest", packed(put(outline.MANIFEST.encode(), content))
    many = (
        msgspec.json.encode(head_of(lines))
        + b"\n"
        + b'{"path":"a","kind":"d","mode":1,"uid":1,"gid":1,"mtime":1}\n' * 10**5
    )
    yield "bomb of entries", packed(put(outline.MANIFEST.encode(), many))


def lying(deflated: bytes, raw_size: int) -> bytes:
    """A member whose data is more than it says."""
    whole = bytearray(member(bytes(raw_size), b"\0" * min(len(deflated), 900_000), bytes(32)))
    whole[56 : 56 + min(len(deflated), 900_000)] = deflated[:900_000]
    return bytes(whole)


def foreign(outside: str) -> Iterator[tuple[str, bytes]]:
    """What other programs make, with everything that has escaped from tarfile and others."""
    for mode in ("w:gz", "w", "w:bz2", "w:xz"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
            for name, kind, target in (
                ("../evil", tarfile.REGTYPE, ""), ("/evil", tarfile.REGTYPE, ""), ("dev", tarfile.CHRTYPE, ""),
                ("link", tarfile.SYMTYPE, outside), ("link/evil", tarfile.REGTYPE, ""),
                ("hard", tarfile.LNKTYPE, "../../etc/passwd"), ("fifo", tarfile.FIFOTYPE, ""),
            ):  # fmt: skip
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, target
                tar.addfile(info)
        yield f"foreign {mode}", out.getvalue()
    for name, content in (
        ("empty", b""),
        ("text", b"hello\n" * 100),
        ("zeros", bytes(10_000)),
        ("gzip", b"\x1f\x8b\x08"),
    ):
        yield f"foreign {name}", content
    yield "foreign random", random.Random(1).randbytes(5000)
    yield "foreign end only", member(END_OF_TAR, stored(END_OF_TAR), bytes(32))


def broken(whole: bytes) -> Iterator[tuple[str, bytes]]:
    """An honest archive with every region flipped or cut, and with its members put together wrongly."""
    chance = random.Random(7)
    size = len(whole)
    bits = sorted({*range(0, 64), *range(size - 64, size), *chance.sample(range(size), 120)})
    for at in bits:
        edited = bytearray(whole)
        edited[at] ^= 1 << chance.randrange(8)
        yield f"flipped at {at}", bytes(edited)
    for at in sorted({0, 1, 9, 10, 55, 56, size - 1, size - 2, size - 8, *chance.sample(range(size), 40)}):
        yield f"cut at {at}", whole[:at]
        yield f"cut out at {at}", whole[:at] + whole[at + 1 + at % 40 :]
    for more in (b"\0", bytes(512), whole, whole[:100], b"\x1f\x8b"):
        yield f"with {len(more)} bytes more", whole + more
    for at in chance.sample(range(size), 20):
        yield f"inserted at {at}", whole[:at] + b"\0" + whole[at:]
        yield f"overwritten at {at}", whole[:at] + b"U" * 32 + whole[at + 32 :]
    found = split(whole)
    for at in range(len(found)):
        yield f"without member {at}", b"".join(found[:at] + found[at + 1 :])
        yield f"with member {at} twice", b"".join(found[: at + 1] + found[at:])
    yield "members exchanged", b"".join(reversed(found))
    for name, offset, length in (("crc", -8, 4), ("length", -4, 4)):
        for number, one in enumerate(found):
            edited = bytearray(one)
            edited[offset : (offset + length) or None] = os.urandom(length)
            yield f"{name} of member {number}", b"".join([*found[:number], bytes(edited), *found[number + 1 :]])
