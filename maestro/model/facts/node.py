"""What happens to nodes."""

from __future__ import annotations

from maestro.model.facts import Fact


class NodeJoined(Fact, frozen=True):
    """`node:<id>`: a daemon started there. incarnation: unique per daemon start.

    labels: of `MAESTRO_NODE_LABELS`; archive: the UUID of the shared archive that it reaches, "" where it has its own,
    `unreached` where it is to reach one and does not.
    """

    node: str
    host: str
    incarnation: str
    pid: int
    max_concurrent: int
    build: str
    home: str = ""
    labels: tuple[str, ...] = ()
    archive: str = ""


class NodeHeld(Fact, frozen=True):
    """`node:<id>`: no run is released to it until `NodeResumed`, as it was shut down or is restarting."""

    node: str
    reason: str = ""


class NodeResumed(Fact, frozen=True):
    """`node:<id>`: takes work again (`up`, `agent restart`, `agent assign`, a new dispatch)."""

    node: str
    reason: str = ""


class NodeLeft(Fact, frozen=True):
    """`node:<id>`: its daemon ended in order."""

    node: str
    reason: str = ""


class NodeLost(Fact, frozen=True):
    """`node:<id>`: its lease ran out."""

    node: str
    reason: str = ""


class NodeDrainBegun(Fact, frozen=True):
    """`node:<id>`: it takes nothing new, finishes what runs, then leaves; until `NodeDrainEnded`."""

    node: str
    reason: str = ""


class NodeDrainEnded(Fact, frozen=True):
    """`node:<id>`: it takes work again, as far as nothing else holds it."""

    node: str


class NodeForgotten(Fact, frozen=True):
    """`node:<id>`: it does not come back; what it left in the shared archive may be collected."""

    node: str
