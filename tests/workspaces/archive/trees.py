"""Trees for the tests of the archive: made of what agents make, and told in full so that two can be compared."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

IS_ROOT = os.geteuid() == 0
PAST = 1_600_000_000_123_456_789


class Told(NamedTuple):
    """All that a name in a tree is. content: bytes of a file, what a link says; same: the first name of its file."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    content: bytes
    xattrs: tuple[tuple[str, bytes], ...]
    same: bytes
    holes: bool


def told(root: Path) -> dict[bytes, Told]:
    """A tree, told by its names."""
    found: dict[bytes, Told] = {}
    inodes: dict[int, bytes] = {}
    waiting = [b""]
    top = os.fsencode(root)
    while waiting:
        path = waiting.pop()
        place = os.path.join(top, path) if path else top
        status = os.lstat(place)
        kind = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l"}.get(stat.S_IFMT(status.st_mode), "?")
        content = b""
        if kind == "d":
            waiting += sorted((os.path.join(path, name) if path else name for name in os.listdir(place)), reverse=True)
        elif kind == "f":
            content = Path(os.fsdecode(place)).read_bytes()
        elif kind == "l":
            content = os.readlink(place)
        names = sorted(os.listxattr(place, follow_symlinks=False))
        xattrs = tuple((name, os.getxattr(place, name, follow_symlinks=False)) for name in names)
        same = inodes.setdefault(status.st_ino, path) if kind == "f" else path
        holes = kind == "f" and status.st_blocks * 512 < status.st_size
        owner = (status.st_uid, status.st_gid)
        mode = stat.S_IMODE(status.st_mode)
        found[path] = Told(kind, mode, owner, status.st_mtime_ns, content, xattrs, same, holes)
    return found


def fill(root: Path) -> Path:
    """A tree with one of everything that must survive."""
    root.mkdir(parents=True)
    (root / ".git/objects").mkdir(parents=True)
    (root / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (root / ".gitignore").write_text("ignored\n")
    (root / "ignored").write_text("secret\n")
    (root / "nested/.git").mkdir(parents=True)
    (root / "nested/.git/config").write_bytes(b"[core]\n")
    (root / "empty").mkdir()
    (root / "empty.file").touch()
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "secret").write_text("s")
    (root / "secret").chmod(0o400)
    (root / "closed").mkdir()
    (root / "closed/file").write_text("x")
    (root / "link").symlink_to("run.sh")
    (root / "dangling").symlink_to("/no/such/" + "x" * 200)
    (root / "up").symlink_to("../..")
    (root / "to-folder").symlink_to("nested")
    (root / "one").write_bytes(b"shared content")
    os.link(root / "one", root / "two")
    os.link(root / "one", root / "nested/three")
    (root / "large").write_bytes(os.urandom(5 << 20))
    (root / "text").write_bytes(b"".join(b"line %d of the log\n" % number for number in range(150_000)))
    with (root / "sparse").open("wb") as sparse:
        sparse.seek(3 << 20)
        sparse.write(b"middle")
        sparse.truncate(8 << 20)
    with (root / "hole").open("wb") as hole:
        hole.truncate(1 << 20)
    for name in (
        b"new\nline",
        b"\xff\xfe not text",
        b"-rf",
        b"a\\b",
        b"tab\t",
        "é ✓ \u202e".encode(),
        b"x" * 255,
        b" ",
    ):
        with open(os.path.join(os.fsencode(root), name), "wb") as file:
            file.write(name)
    os.setxattr(root / "run.sh", "user.kept", b"\0value")
    os.setxattr(root / "empty", "user.of-folder", b"v")
    if IS_ROOT:
        os.chown(root / "secret", 1234, 4321)
        os.chown(root / "link", 1234, 4321, follow_symlinks=False)
        (root / "setuid").write_bytes(b"x")
        (root / "setuid").chmod(0o4755)
    os.utime(root / "link", ns=(PAST, PAST), follow_symlinks=False)
    os.utime(root / "run.sh", ns=(PAST + 1, PAST + 1))
    (root / "closed").chmod(0o500)
    os.utime(root / "empty", ns=(PAST, -5_000_000_001))
    root.chmod(0o750)
    os.utime(root, ns=(PAST, PAST + 7))
    return root


NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & {0, 47} and name not in (b".", b".."))
CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 3 << 20).map(lambda size: bytes(size)),
    st.integers(0, 255).map(lambda seed: bytes((number * number + seed) % 251 for number in range(70_000))),
)
LEAVES = st.one_of(
    st.tuples(st.just("f"), CONTENTS, st.integers(0o400, 0o777)),
    st.tuples(st.just("s"), st.integers(1, 4 << 20), st.integers(0, 3)),
    st.tuples(st.just("l"), st.binary(min_size=1, max_size=60).filter(lambda target: 0 not in target)),
    st.tuples(st.just("h"), st.integers(0, 9)),
)
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=5),
    lambda inner: st.dictionaries(NAMES, st.one_of(LEAVES, inner), max_size=5),
    max_leaves=12,
)


def build(root: bytes, tree: object, files: list[bytes]) -> None:
    """Make a generated tree in `root`, which is not there."""
    assert isinstance(tree, dict)
    os.mkdir(root)
    for name, what in tree.items():
        place = root + b"/" + name
        if isinstance(what, dict):
            build(place, what, files)
        elif what[0] == "l":
            os.symlink(what[1], place)
        elif what[0] == "h":
            if files:
                os.link(files[what[1] % len(files)], place)
        else:
            with open(place, "wb") as file:
                if what[0] == "f":
                    file.write(what[1])
                else:
                    file.truncate(what[1])
                    file.seek(what[1] * what[2] // 4)
                    file.write(b"data")
            if what[0] == "f":
                os.chmod(place, what[2])
            os.utime(place, ns=(0, PAST + len(name)))
            files.append(place)
