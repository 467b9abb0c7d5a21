"""What an isolated run may see and reach, and the bubblewrap command line that holds it to that. Pure.

Everything is at the path that it has outside, so that one composed command line is right for both. What is not named
is not there: no other home, no other workspace, no /sys, no socket but the run's own, no network unless it is shared.
The list is for reading; only the workspace, the agent's home, the run's temp and a private /tmp can be written.
"""

from __future__ import annotations

from typing import NamedTuple

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
ETC = (
    *("alternatives", "ca-certificates", "ca-certificates.conf", "crypto-policies", "default/locale", "fonts"),
    *("gai.conf", "group", "host.conf", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias"),
    *("locale.conf", "localtime", "mime.types", "nsswitch.conf", "passwd", "pki", "protocols", "resolv.conf"),
    *("services", "ssl", "terminfo", "timezone"),
)
"""Of /etc: what programs need to resolve names, users, libraries, time and certificates. No keys, no shadow."""

_OF_THE_MACHINE = ("/proc/sys", "/proc/sysrq-trigger", "/proc/acpi", "/proc/scsi", "/proc/fs")
_NO_ROOT = "1000"

OVERHEAD_PIDS = 2
"""bubblewrap's own processes: the one outside that waits, and the first of the pid namespace."""


class Box(NamedTuple):
    """What one run has. All paths are absolute, and the same inside as outside.

    write: folders for reading and writing; read: files and folders for reading; links: (path, target) symbolic links
    on the way to the program; bound: (outside, inside) files for reading, over what is at `inside`; sockets: of the
    run; network: the host's, else none; nested: the agent brings a sandbox of its own, which needs user namespaces;
    as_root: we are the superuser, whom the kernel lets write its settings even without a single capability.
    """

    write: tuple[str, ...]
    read: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    bound: tuple[tuple[str, str], ...] = ()
    sockets: tuple[str, ...] = ()
    network: bool = False
    nested: bool = False
    as_root: bool = False


def bubblewrap(box: Box, argv: tuple[str, ...], cwd: str, program: str = "bwrap", can_seal: bool = True) -> list[str]:
    """The command line that runs `argv` inside. program: bwrap; can_seal: it is 0.8 or newer.

    Sealed, no further user namespace can be made inside, where much of the kernel could be attacked from. With `nested`
    that stays open, and /proc/self writable, which makes them; the superuser then goes by another name, for without
    capabilities nobody may map uid 0 again. Its first process inside is bubblewrap's own, which reaps orphans; its last
    word is the exit code of the agent, 128 and the number where a signal ended it.
    """
    seal = ["--disable-userns"] if can_seal and not box.nested else []
    line = [
        *(program, "--unshare-user", *seal, "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        *("--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    ]
    if not box.network:
        line.append("--unshare-net")
    if box.nested and box.as_root:
        line += ["--uid", _NO_ROOT, "--gid", _NO_ROOT]
    for path in (*SYSTEM, *(f"/etc/{name}" for name in ETC)):
        line += ["--ro-bind-try", path, path]
    line += [
        "--proc",
        "/proc",
        *_sealed_proc(box),
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--symlink",
        "/tmp",
        "/var/tmp",
        "--dir",
        "/run",
    ]
    for path in _outermost_first(box):
        line += ["--bind" if path in box.write else "--ro-bind", path, path]
    for path, target in box.links:
        line += ["--symlink", target, path]
    for outside, inside in box.bound:
        line += ["--ro-bind", outside, inside]
    for path in box.sockets:
        line += ["--bind", path, path]
    return [*line, "--remount-ro", "/", "--chdir", cwd, "--", *argv]


def _sealed_proc(box: Box) -> list[str]:
    """Nothing in /proc can be written; nested, nothing of it that belongs to the machine."""
    if not box.nested:
        return ["--remount-ro", "/proc"]
    return [word for path in _OF_THE_MACHINE if box.as_root for word in ("--ro-bind-try", path, path)]


def covers(folder: str, path: str) -> bool:
    """Whether `path` is the folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _outermost_first(box: Box) -> list[str]:
    """A folder before what lies in it, which it would hide else: the word about the inner one counts."""
    return sorted({*box.read, *box.write}, key=lambda path: (path.rstrip("/").count("/"), path))
