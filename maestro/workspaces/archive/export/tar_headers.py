"""The tar headers of an export, made from the manifest alone, so that a reader can make the same ones and compare.

The format is POSIX (pax). What a ustar header cannot hold exactly (fractions of a second, long names, large numbers,
extended attributes) is in a pax header before it. Names are written as their raw bytes.
"""

from __future__ import annotations

import msgspec

from maestro.workspaces.archive.format.entries import FILE, FOLDER, HARDLINK, SYMLINK

BLOCK = 512
_TYPES = {FILE: b"0", HARDLINK: b"1", SYMLINK: b"2", FOLDER: b"5"}
_SECOND = 1_000_000_000


class Member(msgspec.Struct, frozen=True):
    """A member of a tar. name, target: paths from the root of the archive; mtime: in ns."""

    name: bytes
    kind: str = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: bytes = b""
    xattrs: dict[bytes, bytes] | None = None


def header(member: Member) -> bytes:
    """All bytes that come before a member's content."""
    name = member.name + b"/" if member.kind == FOLDER else member.name
    seconds, fraction = divmod(member.mtime, _SECOND)
    records: list[tuple[bytes, bytes]] = []
    if len(name) > 100:
        records.append((b"path", name))
    if len(member.target) > 100:
        records.append((b"linkpath", member.target))
    if fraction or not 0 <= seconds < 8**11:
        records.append((b"mtime", _decimal(member.mtime)))
        seconds = min(max(seconds, 0), 8**11 - 1)
    for key, value, limit in ((b"size", member.size, 8**11), (b"uid", member.uid, 8**7), (b"gid", member.gid, 8**7)):
        if value >= limit:
            records.append((key, b"%d" % value))
    for key, content in sorted((member.xattrs or {}).items()):
        records.append((b"SCHILY.xattr." + key.replace(b"%", b"%25").replace(b"=", b"%3D"), content))
    old = Member(
        name[:100],
        member.kind,
        member.mode,
        member.uid % 8**7,
        member.gid % 8**7,
        seconds,
        member.size % 8**11,
        member.target[:100],
    )
    if not records:
        return _old_header(old, _TYPES[member.kind])
    pax = b"".join(_record(key, value) for key, value in records)
    before = Member(b"PaxHeaders/" + name.rstrip(b"/").rpartition(b"/")[2][:80], size=len(pax))
    return _old_header(before, b"x") + padded(pax) + _old_header(old, _TYPES[member.kind])


def padded(content: bytes) -> bytes:
    """`content` with zeros up to a full block."""
    return content + padding(len(content))


def padding(size: int) -> bytes:
    """The zeros that fill the last block of content of `size` bytes."""
    return bytes(-size % BLOCK)


def _old_header(member: Member, kind: bytes) -> bytes:
    """The ustar header of a member, 512 bytes. The member's mtime is in seconds here."""
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (member.mode, member.uid, member.gid, member.size, member.mtime)
    front = member.name.ljust(100, b"\0") + numbers
    back = kind + member.target.ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    total = sum(front) + 8 * 32 + sum(back)
    return front + b"%06o\0 " % total + back


def _record(key: bytes, value: bytes) -> bytes:
    """A pax record: `length key=value\\n`, where the length counts its own digits."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    if len(str(length)) != len(str(len(body))):
        length += 1
    return b"%d" % length + body


def _decimal(nanoseconds: int) -> bytes:
    seconds, fraction = divmod(abs(nanoseconds), _SECOND)
    text = f"{'-' if nanoseconds < 0 else ''}{seconds}.{fraction:09d}"
    return text.rstrip("0").rstrip(".").encode()
