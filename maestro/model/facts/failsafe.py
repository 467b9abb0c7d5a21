"""What failsafe mode does to workspaces: kept before a run, and given back what they held after a bad end."""

from __future__ import annotations

from typing import TypeAlias

from maestro.model.facts import Fact


class WorkspaceGuarded(Fact, frozen=True):
    """`agent:<id>`: its workspace was archived before a run, and goes back to that if the run ends badly.

    The agent is the one whose workspace it is; the run may be of another one. snapshot: the archive; node: where it
    lies. No other run starts in the workspace until `failsafe.returned`, `failsafe.kept` or `failsafe.dropped` follows.
    """

    agent: str
    run: str
    task: str
    workspace: str
    snapshot: str
    node: str = ""


class FailsafeReturned(Fact, frozen=True):
    """`agent:<id>`: its workspace is exactly what it was before the run.

    snapshot: the archive that it went back to; failed: the archive of what the run left, the same one where it left all
    as it was, "" where it removed even the folder; why: outcome or breach; in_a_row: how many returns there were since
    the last good end.
    """

    agent: str
    run: str
    task: str
    workspace: str
    snapshot: str
    failed: str
    why: str
    in_a_row: int = 1


class FailsafeKept(Fact, frozen=True):
    """`agent:<id>`: its workspace was left as the run left it, and the agent is held: `agent.stopped` follows.

    why: somebody else has changed it since, or it could not be archived or exchanged.
    """

    agent: str
    run: str
    task: str
    workspace: str
    snapshot: str
    why: str


class GuardDropped(Fact, frozen=True):
    """`agent:<id>`: a guarded run has ended, and nothing goes back: well, cancelled, or by an orderly stop.

    good: it has ended well, so that returns are counted from 1 again.
    """

    agent: str
    run: str
    good: bool = False


FailsafeFact: TypeAlias = WorkspaceGuarded | FailsafeReturned | FailsafeKept | GuardDropped

FAILSAFE_FACTS: dict[str, type[FailsafeFact]] = {
    "failsafe.guarded": WorkspaceGuarded,
    "failsafe.returned": FailsafeReturned,
    "failsafe.kept": FailsafeKept,
    "failsafe.dropped": GuardDropped,
}
"""The names of these facts in the stream."""
