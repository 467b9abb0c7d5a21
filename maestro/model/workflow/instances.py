"""Instances of steps: what a run is a growing list of. Their ids are `fix`, `fix#2`, `review[3]`, `review#2[3]`."""

from __future__ import annotations

import re

import msgspec

from maestro.model.workflow.folding.timers import Timers

ENDED = frozenset({"completed", "failed", "skipped", "cancelled", "timed_out"})
FAILED = frozenset({"failed", "cancelled", "timed_out"})
_ID = re.compile(r"([A-Za-z0-9_-]+)(?:#([1-9][0-9]{0,8}))?(?:\[([0-9]{1,9})\])?")


class Instance(msgspec.Struct):
    """One instance of a step.

    item: the index in `for_each`, None without. status: waiting, running, or how it ended. waiting_for: why it does not
    go on; since: ms, of its status or of what it waits for. attempts: started so far; link: the place of its agent in
    the chain; retries: new attempts spent. task, child: what works.
    agent: who worked, and works again where it runs again, "" where that is chosen anew; session: of that agent.
    snapshot: the archive of its workspace from before it, "" for none; archived: whether there is one of the present
    agent's; returned: whether the workspace went back to the archive that the run was started with; dirty: whether an
    attempt has worked there since. approval: what the person is asked. Usage is that of all its attempts.
    """

    id: str
    step: str
    round: int
    item: int | None = None
    status: str = "waiting"
    waiting_for: str = ""
    since: int = 0
    attempts: int = 0
    retries: int = 0
    link: int = 0
    task: str = ""
    child: str = ""
    due: int = 0
    outcome: str = ""
    why: str = ""
    agent: str = ""
    session: str = ""
    snapshot: str = ""
    archived: bool = False
    returned: bool = False
    dirty: bool = False
    started_at: int = 0
    ended_at: int = 0
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    approval: str | None = None
    until: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing of it follows."""
        return self.status in ENDED


class Activation(msgspec.Struct):
    """A step in one round: it waits for its needs, is readied, and has its instances until all of them have ended.

    status: waiting, ready, approval, open, or how it ended; since: ms. needs: those that have not ended yet. queue:
    instances that may start, in order; retrying: those that wait for another attempt, by time; taken: those that work,
    or have their workspace made ready for it. total, ended, failed: instances; cancelled, timed_out count as failed.
    outcome, why: `no_convergence` or `template` where its loop found no end, else "". dropped: the end of the run
    skipped it, or some of its items.
    """

    step: str
    round: int
    needs: int
    status: str = "waiting"
    since: int = 0
    queue: dict[str, None] = msgspec.field(default_factory=dict)
    retrying: Timers = msgspec.field(default_factory=Timers)
    taken: dict[str, None] = msgspec.field(default_factory=dict)
    total: int = 0
    ended: int = 0
    failed: int = 0
    outcome: str = ""
    why: str = ""
    dropped: bool = False

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED


def instance_id(step: str, round: int, item: int | None = None) -> str:
    """The id of an instance."""
    return step + (f"#{round}" if round > 1 else "") + (f"[{item}]" if item is not None else "")


def parse_instance(text: str) -> tuple[str, int, int | None] | None:
    """Step, round and item of an instance's id; `review:3` is taken for `review[3]`. None for another text."""
    found = _ID.fullmatch(re.sub(r":([0-9]+)$", r"[\1]", text))
    if found is None:
        return None
    return found[1], int(found[2] or 1), None if found[3] is None else int(found[3])
