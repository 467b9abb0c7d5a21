"""What an isolated run may see and reach, and the bubblewrap command line that enforces it. Pure.

Everything is at the same path inside as outside, so that one composed command line is right for both. What is not named
is not there: no other home, no other workspace, no /sys, no socket but the run's own, no network unless it is shared.
Everything is read-only, except the workspace, the agent's home, the run's temp folder and a private /tmp.
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
"""Files of /etc that programs need to resolve names, users, libraries, time and certificates; no secrets."""

_OF_THE_MACHINE = ("/proc/sys", "/proc/sysrq-trigger", "/proc/acpi", "/proc/scsi", "/proc/fs")
_NO_ROOT = "1000"

OVERHEAD_PIDS = 2
"""bubblewrap's own processes: one that waits outside, and the first one of the pid namespace."""


class Box(NamedTuple):
    """What one run may see and reach. All paths are absolute.

    write: folders for reading and writing.
    read: files and folders for reading.
    links: (path, target) of symbolic links on the way to the program.
    bound: (outside, inside) files for reading, mounted over what is at `inside`.
    sockets: of the run.
    network: share the host's network; otherwise there is none.
    nested: the agent has a sandbox of its own, which needs user namespaces.
    as_root: Maestro runs as the superuser, whom the kernel lets write its settings even without capabilities.
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
    """The command line that runs `argv` inside the box.

    program: bwrap.
    can_seal: bwrap is 0.8 or newer, and can forbid further user namespaces inside, through which much of the kernel
        could be attacked.

    With `nested`, user namespaces stay possible, and /proc/self, which makes them, stays writable; the superuser then
    gets another uid, as without capabilities nobody may map uid 0 again. The first process inside is bubblewrap's own:
    it reaps orphans and exits with the agent's exit code, or 128 and the number of the signal that ended the agent.
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
    """Options that make /proc read-only; with `nested`, only its machine-wide settings."""
    if not box.nested:
        return ["--remount-ro", "/proc"]
    return [word for path in _OF_THE_MACHINE if box.as_root for word in ("--ro-bind-try", path, path)]


def covers(folder: str, path: str) -> bool:
    """Whether `path` is the folder or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _outermost_first(box: Box) -> list[str]:
    """The paths to bind, each folder before what lies in it: a later outer mount would hide the inner one."""
    return sorted({*box.read, *box.write}, key=lambda path: (path.rstrip("/").count("/"), path))
