"""The files that a step of a workflow leaves to later ones: read out of its workspace, and put into another.

What an agent has written is not trusted: no link is followed, no mount entered, and a file that changes meanwhile is
none. Every folder on the way is opened relative to the one above it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from maestro.model.errors import Invalid, MaestroError, NotFound, Refused
from maestro.model.events import BlobRef
from maestro.model.workflow.path_patterns import PathPatterns, Places
from maestro.workspaces.folders import FOLDER_FLAGS
from maestro.workspaces.mounts import open_within

FILE_BYTES_MAX = 8 << 20
ALL_BYTES_MAX = 64 << 20
FILES_MAX = 2000
"""How many files a step may leave: all of them are named in events."""
DEPTH_MAX = 100
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PATTERN = "name what the step writes: dist/**"


def capture(workspace: str, patterns: Sequence[str], put: Callable[[bytes], str]) -> dict[str, BlobRef]:
    """Read the files that these patterns match, one after the other; by path, in order. Blocks.

    put: keeps the content of a file under its SHA-256, which it returns.

    Raises `Refused` naming a pattern that matches no file; a link, a mount, or what is no regular file; one that is too
    large, whose name is no UTF-8, or that changes while it is read; and `Invalid` for what is no pattern.
    """
    walk = _Walk(PathPatterns(patterns), put)
    try:
        top = os.open(workspace, FOLDER_FLAGS)
        try:
            walk.folder(top, "", walk.patterns.start)
        finally:
            os.close(top)
    except OSError as error:
        raise _refusal(error, workspace) from None
    walk.check_all_matched()
    return walk.files


def bring(workspace: str, files: Mapping[str, BlobRef], get: Callable[[str], bytes | None]) -> None:
    """Write these files, by path, into a workspace, each atomically in place of what was there. Blocks.

    get: the content of a file by its SHA-256; one is held at a time.

    Raises `Refused` where a link, or anything but a regular file, is in the way, or the disk refuses; `NotFound` for a
    content that is gone; `Invalid` for a path that leaves the workspace.
    """
    for path, reference in sorted(files.items()):
        content = get(reference.blob)
        if content is None:
            raise NotFound(f"the content of {path!r} is not in the store", "files", "run the step again that leaves it")
        try:
            _write(workspace, path, content, reference.executable)
        except OSError as error:
            raise _refusal(error, path) from None


class _Walk:
    """The walk through one workspace. files: what was found. `_links`: links on the way of each pattern."""

    def __init__(self, patterns: PathPatterns, put: Callable[[bytes], str]) -> None:
        self.patterns = patterns
        self.files: dict[str, BlobRef] = {}
        self._put = put
        self._bytes = 0
        self._matched: set[int] = set()
        self._links: dict[int, str] = {}

    def folder(self, handle: int, path: str, places: Places) -> None:
        """Read what matches in an open folder. Raises as `capture`, and OSError."""
        if path.count("/") > DEPTH_MAX:
            raise Refused(f"{path[:100]!r}… lies more than {DEPTH_MAX} folders deep", "files", _PATTERN)
        with os.scandir(handle) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            if below := self.patterns.step(places, name):
                self._entry(handle, name, f"{path}/{name}" if path else name, below)

    def _entry(self, above: int, name: str, path: str, places: Places) -> None:
        matched = self.patterns.matched(places)
        found = os.stat(name, dir_fd=above, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            with _opened(name, FOLDER_FLAGS, above, path) as handle:
                self.folder(handle, path, places)
        elif matched:
            _check(found, path)
            self._file(above, name, path)
            self._matched |= matched
        elif stat.S_ISLNK(found.st_mode):
            for pattern, _ in places:
                self._links.setdefault(pattern, path)

    def _file(self, above: int, name: str, path: str) -> None:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise Refused(f"the name {path!r} is no UTF-8", "files", "rename it, or leave it out") from None
        if len(self.files) == FILES_MAX:
            raise Refused(f"there are more than {FILES_MAX} files to leave", "files", "leave one archive of them")
        with _opened(name, _READ_FLAGS, above, path) as handle:
            before = os.fstat(handle)
            _check(before, path)
            content = _content(handle)
            after = os.fstat(handle)
        if len(content) > FILE_BYTES_MAX:
            raise Refused(f"{path!r} has more than {FILE_BYTES_MAX >> 20} MiB", "files", "leave less of it")
        if _state(before) != _state(after) or len(content) != after.st_size:
            raise Refused(f"{path!r} changed while it was read", "files", "end what writes it before the step ends")
        self._bytes += len(content)
        if self._bytes > ALL_BYTES_MAX:
            what = f"with {path!r} there are more than {ALL_BYTES_MAX >> 20} MiB to leave"
            raise Refused(what, "files", "leave less")
        executable = bool(before.st_mode & stat.S_IXUSR)
        self.files[path] = BlobRef(self._put(content), len(content), executable)

    def check_all_matched(self) -> None:
        """Raise `Refused` naming the first pattern that matches no file."""
        for index, pattern in enumerate(self.patterns.patterns):
            if index not in self._matched:
                link = self._links.get(index)
                why = f"; {link!r} is a link, which is not followed" if link else ""
                raise Refused(f"no file matches {pattern!r}{why}", "files", _PATTERN)


def _check(found: os.stat_result, path: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise Refused(f"{path!r} is a link, which is not followed", "files", "copy what it leads to, or leave it out")
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{path!r} is no regular file", "files", "remove it, or leave it out")


def _content(handle: int) -> bytes:
    """What is in an open file, and one byte more than a file may have at most."""
    pieces, left = [], FILE_BYTES_MAX + 1
    while left > 0 and (piece := os.read(handle, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _state(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def _opened(name: str, flags: int, above: int, path: str) -> Iterator[int]:
    """Open what lies in an open folder; a context. Raises `Refused` for a link, a mount, or what came in its place."""
    try:
        handle = open_within(name, flags, above)
    except OSError as error:
        raise _refusal(error, path) from None
    try:
        yield handle
    finally:
        os.close(handle)


def _write(workspace: str, path: str, content: bytes, executable: bool) -> None:
    """Write one file. A temporary file that was left by a process which was killed is used again."""
    *above, name = path.split("/")
    if path.startswith("/") or not name or any(part in ("", ".", "..") for part in (*above, name)) or "\0" in path:
        raise Invalid(f"{path!r} is no path in a workspace", "files")
    with ExitStack() as stack:
        folder = os.open(workspace, FOLDER_FLAGS)
        stack.callback(os.close, folder)
        for part in above:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder)
            folder = stack.enter_context(_opened(part, FOLDER_FLAGS, folder, path))
        with suppress(FileNotFoundError):
            _check(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
        fresh = f".maestro-file-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(fresh, flags, 0o777 if executable else 0o666, dir_fd=folder)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(fresh, dir_fd=folder)
            raise


def _refusal(error: OSError, path: str) -> MaestroError:
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
        return Refused(f"{path!r}: a link, or no folder or regular file, is in the way", "files", "remove it")
    if error.errno == errno.EXDEV:
        return Refused(f"{path!r} is, or lies in, a mount, which is not entered", "files", "unmount it")
    return Refused(f"{path!r}: {error.strerror}", "files", "make room or mend the permissions, then try again")
