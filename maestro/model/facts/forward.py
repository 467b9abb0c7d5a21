"""What happens to commands that one node has another one carry out: the subject of these is `forward:<id>`."""

from __future__ import annotations

from typing import TypeAlias

from maestro.model.facts import Fact


class ForwardAsked(Fact, frozen=True):
    """`forward:<id>`: a command for the daemon of another node, which alone can carry it out.

    command: as JSON of the protocol, with its kind; it carries no secret, and no variable of the caller. actor: who
    typed it; cwd: where. expires_at: server time in ms; what has not begun by then never begins. apart: the command is
    too large for the log, and lies beside it for some minutes.
    """

    forward: str
    node: str
    command: str
    actor: str
    cwd: str = "/"
    expires_at: int = 0
    apart: bool = False


class ForwardBegun(Fact, frozen=True):
    """`forward:<id>`: the node carries it out. incarnation: of its daemon; no answer comes where that ends."""

    forward: str
    node: str
    incarnation: str


class ForwardAnswered(Fact, frozen=True):
    """`forward:<id>`: what came of it. answer: as JSON: {items, data, exit_code, notes}, or {failed: {...}}.

    apart: the answer is too large for the log, and lies beside it for some minutes. What the command has printed as it
    came is not in it.
    """

    forward: str
    node: str
    answer: str
    apart: bool = False


ForwardFact: TypeAlias = ForwardAsked | ForwardBegun | ForwardAnswered

FORWARD_FACTS: dict[str, type[ForwardFact]] = {
    "forward.asked": ForwardAsked,
    "forward.begun": ForwardBegun,
    "forward.answered": ForwardAnswered,
}
"""The names of these facts in the stream."""
