"""The states of a run on the node that executes it, and the table of what may happen in each.

    a hint is claimed                         CLAIMED --prepare--+
                                                                 v
    room is reserved   RESERVED --begin-->  BEGUN ----prepare--> PREPARING --ready--> PREPARED --launch--> RUNNING
                           |                                         |                    |                   |
                           |                                         |                    |                 verify
                           |                                         |                    |                   v
                           |                                         |                    +--over--+--over-- VERIFYING
                           |                                         |                             v
                           +---------------leave---------------------+-----------leave---------- ENDING --leave--> GONE

`leave` leads from every state to GONE, as what hinders a run may come at any time. What `run.started` and `run.ended`
say in the log is not in the table: `run_appends.py` keeps that.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class LocalDefect(RuntimeError):
    """Something happened to a run that cannot happen in its state: a defect of the worker, never of the run."""


class RunState(Enum):
    """How far a run is on this node."""

    CLAIMED = "claimed"
    """Its hint was taken from a work stream; nothing was done about it."""
    RESERVED = "reserved"
    """It has room here; its release and start are on their way to the log."""
    BEGUN = "begun"
    """Its release and start are in the log; nothing else was done about it."""
    PREPARING = "preparing"
    """Folder, prompt and workspace are being made; of a claimed run the start is on its way to the log meanwhile."""
    PREPARED = "prepared"
    """Its start is in the log, and it can be launched, or it is known why it cannot."""
    RUNNING = "running"
    """A warden has its program, or is about to."""
    VERIFYING = "verifying"
    """Its program has ended well; a warden has the program that verifies it, or is about to."""
    ENDING = "ending"
    """None of its processes is alive; its end is on its way to the log."""
    GONE = "gone"
    """This node has nothing more to do for it."""


class RunEvent(Enum):
    """What happens to a run on this node."""

    BEGIN = "begin"
    """The log has taken release and start of a run with reserved room."""
    PREPARE = "prepare"
    """The run is still to be executed, and its preparation starts."""
    READY = "ready"
    """The preparation is over, and the log has the start."""
    LAUNCH = "launch"
    """The program is given to a warden."""
    VERIFY = "verify"
    """The program that verifies the run is given to a warden."""
    OVER = "over"
    """None of its processes is alive, and it is known how it ended."""
    LEAVE = "leave"
    """Its end is in the log, or the run is given up here."""


_S, _E = RunState, RunEvent

TRANSITIONS: Mapping[RunState, Mapping[RunEvent, RunState]] = MappingProxyType(
    {
        _S.CLAIMED: {_E.PREPARE: _S.PREPARING, _E.LEAVE: _S.GONE},
        _S.RESERVED: {_E.BEGIN: _S.BEGUN, _E.LEAVE: _S.GONE},
        _S.BEGUN: {_E.PREPARE: _S.PREPARING, _E.LEAVE: _S.GONE},
        _S.PREPARING: {_E.READY: _S.PREPARED, _E.LEAVE: _S.GONE},
        _S.PREPARED: {_E.LAUNCH: _S.RUNNING, _E.OVER: _S.ENDING, _E.LEAVE: _S.GONE},
        _S.RUNNING: {_E.VERIFY: _S.VERIFYING, _E.OVER: _S.ENDING, _E.LEAVE: _S.GONE},
        _S.VERIFYING: {_E.OVER: _S.ENDING, _E.LEAVE: _S.GONE},
        _S.ENDING: {_E.LEAVE: _S.GONE},
        _S.GONE: {_E.LEAVE: _S.GONE},
    }
)
"""State -> event -> the state that follows. What is not in it is a defect."""

AT_GATE = frozenset({_S.RESERVED, _S.BEGUN, _S.PREPARING})
"""States in which the start of the run counts as under way: who holds its agent waits until it is in another."""


def following(state: RunState, event: RunEvent) -> RunState:
    """The state behind an event. Raises LocalDefect for an event that cannot come in this state."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise LocalDefect(f"{event.value!r} cannot happen to a run that is {state.value}") from None
