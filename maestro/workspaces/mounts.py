"""Opens files below a folder without crossing a mount point, and finds the mount points in a folder.

Whatever walks a workspace to read, move or delete it opens each step by `open_within`. The kernel refuses the step at
which another mount begins (openat2(2), RESOLVE_NO_XDEV; Linux 5.6), also of the same file system, and of files as well
as folders; so there is no race between a check and its use. Where that call is missing or filtered, the mount ids of
/proc/self/fdinfo are compared after opening. On other systems than Linux only `st_dev` tells, which sees mounts of
another file system alone.

The list in /proc/self/mountinfo serves to name mount points to people, and to refuse before anything is touched. A
mount made in another mount namespace is in no list here, and cannot be crossed from here either.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from maestro.model.errors import Refused

_OPENAT2 = 437
_RESOLVE_NO_XDEV = 0x01
_ESCAPE = re.compile(rb"\\([0-7]{3})")
_NAMED_MAX = 3
_LOOK = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_CLOEXEC
_HANDLE = _LOOK | os.O_NOFOLLOW
_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    """The C struct `open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_within(name: str | bytes, flags: int, above: int) -> int:
    """A descriptor of `name` in the open folder `above`, as os.open gives it, without crossing a mount.

    name: one or more path parts.
    flags: as of os.open, without O_CREAT.

    Raises `OSError`; with EXDEV where a mount begins.
    """
    if _has_openat2():
        return _openat2(name, flags, above, _RESOLVE_NO_XDEV)
    descriptor = os.open(name, flags, dir_fd=above)
    try:
        if _mount_of(descriptor) != _mount_of(above):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_above(path: str | Path) -> int:
    """A descriptor of the folder that `path` lies in, for use as `above`. The folder need not be readable."""
    return os.open(Path(path).parent, _LOOK | os.O_DIRECTORY)


def is_mount(path: str | Path) -> bool:
    """Whether a mount begins at this path, which is no link. False where the path cannot be examined."""
    place = Path(os.path.realpath(Path(path).parent), Path(path).name)
    if place == place.parent:
        return True
    try:
        above = open_above(place)
    except OSError:
        return False
    try:
        os.close(open_within(place.name, _HANDLE, above))
    except OSError as error:
        return error.errno == errno.EXDEV
    finally:
        os.close(above)
    return False


def mounts_below(path: str | Path, *, is_walked: bool = True) -> list[str]:
    """The mount points inside the folder at `path`, of folders and of files, as sorted absolute paths.

    The folder itself is not listed, nor are mounts inside other mounts. Empty where the folder is absent.

    is_walked: where the kernel lists no mounts, try every name in the folder.
    """
    top = os.fsencode(os.path.realpath(path))
    try:
        handle = os.open(top, _LOOK | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        inside = top.rstrip(b"/") + b"/"
        places = _listed(inside)
        if places is None:
            return sorted(os.fsdecode(inside) + inner for inner in _walked(handle)) if is_walked else []
        found = [place for place in _outermost(places) if _is_crossed(handle, place[len(inside) :], if_unknown=True)]
        return [os.fsdecode(place) for place in found]
    finally:
        os.close(handle)


def check_no_mounts(path: str | Path, what: str) -> None:
    """Check that nothing is mounted inside the folder at `path`. Raises `Refused`.

    what: would be done to the folder, as in `emptied`.
    """
    if found := mounts_below(path):
        raise mount_refusal(found, what)


def mount_refusal(places: list[str], what: str) -> Refused:
    """The error that names these mount points. what: would be done to them, as in `emptied`."""
    named = ", ".join(repr(place) for place in places[:_NAMED_MAX])
    more = f" and {len(places) - _NAMED_MAX} more" if len(places) > _NAMED_MAX else ""
    verb = "is a mount point" if len(places) == 1 else "are mount points"
    return Refused(f"{named}{more} {verb} and would be {what}", "workspace", "unmount it (umount), then try again")


@functools.cache
def file_system_of(descriptor: int) -> str:
    """The kind of file system that an open file lies on, such as `xfs`; "" where the system does not tell."""
    try:
        mount = str(_mount_of(descriptor)).encode()
        lines = Path("/proc/self/mountinfo").read_bytes().split(b"\n")
    except OSError:
        return ""
    kinds = (line.partition(b" - ")[2].split()[0] for line in lines if line.split()[:1] == [mount])
    return next(kinds, b"").decode(errors="replace")


@functools.cache
def _has_openat2() -> bool:
    """Whether the kernel has openat2(2), and no filter of system calls refuses it: asked once, not for each folder."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        os.close(_openat2("/", os.O_PATH | os.O_CLOEXEC, -100, 0))
    except OSError:
        return False
    return True


def _openat2(name: str | bytes, flags: int, above: int, resolve: int) -> int:
    how = _How(flags, 0, resolve)
    path = os.fsencode(name)
    while True:
        descriptor = int(_libc.syscall(_OPENAT2, above, path, ctypes.byref(how), ctypes.sizeof(how)))
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code not in (errno.EINTR, errno.EAGAIN):
            raise OSError(code, os.strerror(code), name)


def _mount_of(descriptor: int) -> int:
    """The id of the mount that an open file lies on; its device where the system does not tell mounts."""
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as told:  # noqa: PTH123 - a path of our own
            for line in told:
                if line.startswith(b"mnt_id:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return os.fstat(descriptor).st_dev


def _listed(inside: bytes) -> list[bytes] | None:
    """The mount points below `inside`, which ends with /, from the kernel's list; None where there is no list."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().split(b"\n")
    except OSError:
        return None
    places = {_ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), line.split(b" ")[4]) for line in lines if line}
    return [place for place in places if place.startswith(inside)]


def _outermost(places: Iterable[bytes]) -> list[bytes]:
    """The places that lie in no other one: inner ones are reached, or hidden, through these."""
    found: list[bytes] = []
    for place in sorted(places, key=lambda place: place.split(b"/")):
        if not found or not place.startswith(found[-1] + b"/"):
            found.append(place)
    return sorted(found)


def _is_crossed(top: int, inner: bytes, *, if_unknown: bool) -> bool:
    """Whether a mount begins on the path to `inner` below an open folder; a mount hidden by another does not count.

    if_unknown: the answer where the path cannot be examined.
    """
    try:
        if not hasattr(os, "O_PATH"):  # without O_PATH, opening could have side effects
            return os.stat(inner, dir_fd=top, follow_symlinks=False).st_dev != os.fstat(top).st_dev
        os.close(open_within(inner, _HANDLE, top))
    except OSError as error:
        return error.errno == errno.EXDEV or (if_unknown and error.errno not in (errno.ENOENT, errno.ENOTDIR))
    return False


def _walked(top: int) -> Iterator[str]:
    """Yield the mount points below an open folder by trying every name, where the kernel does not list them."""
    waiting = [""]
    while waiting:
        inner = waiting.pop()
        with suppress(OSError):
            handle = open_within(inner or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, top)
            try:
                with os.scandir(handle) as entries:
                    names = [entry.name for entry in entries]
                for name in names:
                    place = f"{inner}/{name}" if inner else name
                    if _is_crossed(handle, os.fsencode(name), if_unknown=False):
                        yield place
                    else:
                        waiting.append(place)
            finally:
                os.close(handle)
