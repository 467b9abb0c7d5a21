"""What a node sees of an agent and of what the agent needs: the observations that the rules of health judge."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from maestro.model.node import Node


class SeenWorkspace(msgspec.Struct, frozen=True):
    """What a node sees of a workspace. there: the folder exists; problem: why it cannot be used, or "".

    shown: which folder of which file system its path leads to, "" where that is unknown.
    """

    there: bool
    problem: str = ""
    shown: str = ""


class RememberedWorkspace(msgspec.Struct, frozen=True):
    """What a node remembers of a workspace that it has made or seen for an agent.

    assigned_at: the time of that assignment, ms; shown: as in `SeenWorkspace`.
    """

    workspace: str
    assigned_at: int
    shown: str = ""


class SeenDisk(msgspec.Struct, frozen=True):
    """The room on the disk below a folder. free_files: None where the file system does not count them.

    problem: why it cannot be told, or "".
    """

    path: str
    free_bytes: int = 0
    total_bytes: int = 0
    free_files: int | None = None
    problem: str = ""


class SeenProcess(msgspec.Struct, frozen=True):
    """A process that stands still. state: `stopped`, `zombie` or `disk-sleep` (a call of the system that signals do not
    end); for_s: for how long, as far as that was seen; pauses of Maestro's own do not count.

    role: `agent` for the agent's own process, `warden` for the one that guards the run, `child` for all others.
    """

    pid: int
    name: str
    state: str
    for_s: float
    role: str = "child"


class SeenRun(msgspec.Struct, frozen=True):
    """A run that is on. standing: its processes that stand still; before: those at the look before this one.

    count: of all its processes; silent_s: since it printed something; silent_s_max: after how long its warden ends it.
    """

    standing: tuple[SeenProcess, ...] = ()
    before: tuple[SeenProcess, ...] = ()
    count: int = 0
    silent_s: float = 0.0
    silent_s_max: float | None = None


class SeenStore(msgspec.Struct, frozen=True):
    """Whether the store can be trusted. problem: why not, or ""; mend: what makes it safe; note: what is not ideal."""

    problem: str = ""
    mend: str = ""
    note: str = ""


class SeenHeartbeat(msgspec.Struct, frozen=True):
    """The last heartbeat of an agent's node. age_s: None where none is known; now: server ms.

    deaf: a missing one says nothing, as the store was away until just now.
    """

    age_s: float | None
    now: int
    deaf: bool = False


class SeenQueue(msgspec.Struct, frozen=True):
    """The task that waits longest for an agent, "" for none. waits_s: since it is ready; why: what it waits for."""

    task: str = ""
    waits_s: float = 0.0
    why: str = ""


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen of an agent; None for what nobody has looked at.

    program, place: why the agent's program cannot be run, and the folder of its runs not be used, or "". definition:
    what has changed of it, or "". nodes: all, by id. outcomes: of the agent's last runs, the newest first.
    """

    program: str | None = None
    workspace: SeenWorkspace | None = None
    remembered: RememberedWorkspace | None = None
    place: str | None = None
    disk: SeenDisk | None = None
    definition: str | None = None
    run: SeenRun | None = None
    store: SeenStore | None = None
    nodes: Mapping[str, Node] | None = None
    heartbeat: SeenHeartbeat | None = None
    outcomes: tuple[str, ...] | None = None
    queue: SeenQueue | None = None
