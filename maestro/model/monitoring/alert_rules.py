"""The rules of alerts: which there are, when each is raised and resolved, and what helps. Pure.

`alert_conditions.py` judges what the leader sees at one moment, `alert_moments.py` what an event tells;
`alert_decisions.py` makes events of both, each alert raised once and resolved once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from maestro.model.coordination.missing_workspaces import ALLOW_MISSING

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS


class Rule(msgspec.Struct, frozen=True):
    """The rule of one alert, as people read it. when: it is raised; ends: it is resolved; helps: which command does.

    momentary: it tells of one event, and ends by `monitor ack` or after a day besides. critical: else a warning. many:
    the command that lists what it is about, where that is too much to be told one by one.
    """

    when: str
    ends: str
    helps: str
    momentary: bool = False
    critical: bool = False
    many: str = "maestro monitor alerts --all"


RULES: Final[Mapping[str, Rule]] = {
    "agent_unhealthy": Rule(
        "a check of an agent fails, as its own node has recorded; not where only its node is lost",
        "its checks hold for 15 s, or it is stopped",
        "`maestro agent health AGENT`",
        many="maestro agent list --status failed",
    ),
    "task_failed": Rule(
        "a task failed, or a workflow run (not each task of its steps)",
        "the task, or a run that was resumed from that one, completes",
        "`maestro task status TASK`, then `maestro task retry TASK`; "
        "`maestro workflow status RUN`, then `maestro workflow run ID --resume-from failed --run RUN`",
        momentary=True,
        many="maestro task list --status failed",
    ),
    "task_timed_out": Rule(
        "a task or a workflow run ran out of time",
        "as `task_failed`",
        "`maestro task status TASK`, then `maestro task retry TASK`; "
        "`maestro workflow status RUN`, then `maestro workflow run ID --resume-from failed --run RUN`",
        momentary=True,
        many="maestro task list --status timed_out",
    ),
    "over_budget": Rule(
        "a task ended as its budget was spent (this one tells of one event), or a workflow run is paused for that",
        "the task completes; the run goes on or ends",
        "`maestro task status TASK`, then `maestro task retry TASK --budget-cost N`; "
        "`maestro workflow resume RUN --add-budget cost=N`",
        many="maestro task list --status failed",
    ),
    "parked": Rule(
        "a task was lost too often, and is not tried again by itself",
        "the task completes",
        "`maestro task status TASK`, then `maestro task retry TASK`",
        momentary=True,
        many="maestro task list --status failed",
    ),
    "stalled_queue": Rule(
        "for a minute nothing runs while work is ready, and nobody has stopped its agents or held its node",
        "something runs, or nothing is ready",
        "`maestro queue status --waiting`",
        critical=True,
    ),
    "oldest_ready": Rule(
        "a task has been ready for an hour, and nobody has stopped its agent",
        "none has",
        "`maestro queue status --waiting`",
    ),
    "label_missing": Rule(
        "for a minute a task has been ready that asks for labels which no node has",
        "a node has them, or no task asks for them",
        "`maestro node list` shows the labels that there are",
        many="maestro queue status --waiting",
    ),
    "approval_waiting": Rule(
        "an approval of a workflow run has waited for an hour",
        "it is answered, or the run ends",
        "`maestro workflow approve RUN STEP`",
        many="maestro workflow runs --waiting",
    ),
    "node_silent": Rule(
        "a node is lost: its daemon has let its lease run out",
        "its daemon is back for 15 s, or the node is forgotten",
        "`maestro up`, there; `maestro node forget NODE`, where it does not come back",
        critical=True,
        many="maestro node list",
    ),
    "disk": Rule(
        "a node says that a disk of its is short of room",
        "it says so no more for 15 s",
        "`maestro doctor`, there",
    ),
    "store": Rule(
        "the store was away for 5 s or longer (told when it is back), or a node finds it unsafe",
        "it has been back, and safe, for a minute",
        "`maestro doctor`",
        critical=True,
    ),
    "snapshot_failed": Rule(
        "a snapshot failed on a node",
        "a snapshot of that node is complete",
        "`maestro state snapshot`, with `--allow-missing` where a workspace or its node is away",
        momentary=True,
    ),
    "copies_damaged": Rule(
        "a node has found copies of snapshots in the shared archive damaged, and cannot mend them from its own archive",
        "they are mended, or their snapshots are over",
        "`maestro state verify --copies`, there",
        critical=True,
    ),
    "snapshot_overdue": Rule(
        "a schedule has `state snapshot` as its command, and half an hour after a due time there is no newer snapshot",
        "there is one, or the schedule is switched off or removed",
        "`maestro state snapshot`, with `--allow-missing` where a workspace or its node is away",
        critical=True,
    ),
    "schedule_missed": Rule(
        "due times of a schedule were left out, or what it began could not be begun",
        "a later due time of it ends well",
        "`maestro schedule run NAME`; `maestro state snapshot --allow-missing`, where that is what it could not do",
        momentary=True,
    ),
    "replay_mismatch": Rule(
        "`maestro replay verify` found that a view or the chain is not what the log says",
        "`maestro replay verify` finds all in order",
        "`maestro replay rebuild`, then `maestro replay verify`",
        critical=True,
    ),
    "spend_rate": Rule(
        "an hour costs 10 or more (in the agents' currency), and four times the mean hour of the day before it",
        "the last hour costs less than twice that mean, or less than 5",
        "`maestro queue status --processing`",
    ),
    "failsafe_kept": Rule(
        "failsafe mode holds an agent: its workspace could not go back, or went back three times in a row",
        "the agent is restarted, reset or assigned",
        "`maestro agent restart AGENT`",
        critical=True,
        many="maestro agent list --status stopped",
    ),
    "webhook_disabled": Rule(
        "a webhook answered that it wants nothing more (410)",
        "a monitor is started for it again",
        "`maestro monitor start --alert-webhook URL`",
        momentary=True,
    ),
}
"""All alerts by name, as `maestro help monitoring` lists them."""
NAMES: Final = tuple(RULES)


class Condition(msgspec.Struct, frozen=True):
    """Something that is to be told. Fields as in `AlertRaised`.

    seq: of the event that a momentary one tells of, 0 for a lasting one. hold_ms: for how long it must have been seen
    before it is told. unsure: nobody can say now: an open alert stays, none is raised. kind: the words of `what` or
    `why` that say for what reason it is so, without what was measured; "" for one that has no kinds.
    """

    name: str
    subject: str
    what: str = ""
    why: str = ""
    since: int = 0
    command: str = ""
    node: str = ""
    momentary: bool = False
    seq: int = 0
    hold_ms: int = 0
    unsure: bool = False
    kind: str = ""

    @property
    def alert(self) -> str:
        """The id of its alert."""
        return f"{self.name}:{self.subject}"


def snapshot_command(lacks: bool) -> str:
    """The command that takes the snapshot which is not there. lacks: one of all workspaces would be refused."""
    return f"maestro state snapshot {ALLOW_MISSING}" if lacks else "maestro state snapshot"
