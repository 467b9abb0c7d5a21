"""Random facts about what several nodes take part in, or share: parts of snapshots and restores, settings, commands.

And those about what agents ask leave for.
"""

from __future__ import annotations

from random import Random

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.facts.permission import PermissionOption, TaskPermissionAnswered, TaskPermissionAsked

RESTORES = ("r1", "r2")
NODES = ("north", "south")
SNAPSHOTS = ("s1", "s2")


def permissions(task: str, run: str, asked: int, answered: int) -> tuple[e.AnyFact, ...]:
    """What a run asks leave for, and an answer, to that or to another request."""
    options = (PermissionOption("y", "allow_once", "Yes"), PermissionOption("n", "reject_once"))
    return (
        TaskPermissionAsked(task, run, asked, "rm", options),
        TaskPermissionAnswered(task, run, answered, "allow", "y"),
    )


def part(random: Random) -> NewEvent:
    """A fact about a snapshot or a restore that several nodes take part in."""
    if random.random() < 0.5:
        snapshot = random.choice(SNAPSHOTS)
        return NewEvent(f"snapshot:{snapshot}", random.choice(_parts_of_a_snapshot(random, snapshot)))
    restore, node = random.choice(RESTORES), random.choice(NODES)
    place = e.RestorePlacement("tester", "/w/tester", "/w/tester", "/w", "s1", "workspaces/tester", "north")
    facts: tuple[e.AnyFact, ...] = (
        e.RestoreAsked(restore, "north", (e.RestorePartWanted(node, (place,), ("tester",)),), 5, "s1", "{}"),
        e.RestoreAsked(restore, "north", (e.RestorePartWanted(node, (place,)),), None, "s1"),
        e.RestoreOpened(restore, 9_000),
        e.RestoreStarted(restore, 1, "s1", "s2"),
        e.RestorePartStaged(restore, node, {"/w/tester": "damaged"}),
        e.RestorePartFailed(restore, node, "no room"),
        e.RestorePartPlaced(restore, node, ("/w/tester",), {"/w/builder": "is a link"}),
        e.RestorePlaced(restore, "s1", ("/w/tester",), "s2", (node,)),
        e.RestoreFailed(restore, "no room"),
    )
    return NewEvent(f"restore:{restore}", random.choice(facts))


def _parts_of_a_snapshot(random: Random, snapshot: str) -> tuple[e.AnyFact, ...]:
    node = random.choice(NODES)
    work = e.SnapshotWorkspace("tester", "/w/tester", "workspaces/tester", random.randint(1, 9), False, node)
    lacking = e.SnapshotMissing("builder", "/w/builder", "is not there")
    wanted = (e.PartWanted("north", ("tester",)), e.PartWanted("south", ("builder",)))
    return (
        e.SnapshotAsked(snapshot, "asked", "north", wanted),
        e.SnapshotAsked(snapshot, "restore", node, wanted[:1], True, (lacking,), True, True, restore="r1"),
        e.SnapshotOpened(snapshot, 9_000),
        e.SnapshotPartReady(snapshot, node, "i1"),
        e.SnapshotPartTaken(snapshot, node, "cd" * 32, (work,), 70, 7, ("a\n",), ("b",), (lacking,)),
        e.SnapshotPartFailed(snapshot, node, "late"),
        e.SnapshotTaken(snapshot, random.randint(1, 9), parts=(e.SnapshotPart(node, "cd" * 32, 70, 7),), node="north"),
    )


def shared(random: Random) -> NewEvent:
    """A fact about what the nodes of a namespace share: settings, the archive, commands for each other."""
    facts: dict[str, tuple[e.AnyFact, ...]] = {
        "setting:views.keep": (e.SettingChanged("views.keep", random.choice(("", "3", "7"))),),
        "setting:archive": (e.ArchiveNamed("ab" * 16, "s3://bucket/prefix"),),
        "forward:f1": (
            e.ForwardAsked("f1", "south", '{"kind":"agent reset"}', "cli:me", "/w", 9_000),
            e.ForwardBegun("f1", "south", "i1"),
            e.ForwardAnswered("f1", "south", '{"data":{}}'),
        ),
    }
    about = random.choice(tuple(facts))
    return NewEvent(about, random.choice(facts[about]))
