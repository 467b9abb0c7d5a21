"""Workspaces that have the same path on several nodes are told apart."""

from __future__ import annotations

import pytest

from maestro.model.agent import Agent
from maestro.model.coordination.restore_parts import Restore, RestorePart
from maestro.model.errors import Refused
from maestro.model.events import RestorePlacement, SnapshotWorkspace
from maestro.model.restore import Archived
from maestro.runtime.restores.across.archives import Archives, Parts
from maestro.runtime.restores.across.asking import parts_by_place
from maestro.runtime.restores.past import Past
from maestro.runtime.restores.plan import Placement, RestorePlan

AGENTS = {name: Agent(name, "shell", 1, {}, "/root", "/work", node=node) for name, node in (("x", "n1"), ("y", "n2"))}
PAST = Past(9, 0, [], AGENTS, [], [], [])
HELD = [
    Archived("s-1", SnapshotWorkspace("x", "/work", "workspaces/x", 5), ""),
    Archived("s-1", SnapshotWorkspace("y", "/work", "workspaces/y", 5), "n2"),
    Archived("s-1", SnapshotWorkspace("z", "/gone", "replaced/z", 5), "n2"),
]


@pytest.mark.parametrize(
    ("name", "here", "agent"), [("/work", "n1", "x"), ("/work", "n2", "y"), ("y", "n1", "y"), ("/gone", "n1", "z")]
)
def test_a_path_means_the_workspace_of_this_node_first_and_an_agent_its_own(name: str, here: str, agent: str) -> None:
    found = Archives(Parts(HELD), PAST, by_time=False).named(name, "/", here)
    assert found is not None and found.agent == agent


def test_a_path_that_other_nodes_have_twice_is_refused_naming_their_agents() -> None:
    with pytest.raises(Refused, match=r"x \(node n1\), y \(node n2\)") as refused:
        Archives(Parts(HELD), PAST, by_time=False).named("/work", "/", "n3")
    assert refused.value.mend == "name the agent"


def test_what_a_node_has_skipped_is_not_told_of_the_same_path_on_another() -> None:
    wanted = [RestorePlacement(name, "/work", "/work", "/root", "s-1", f"workspaces/{name}") for name in "xy"]
    parts = [RestorePart("n1", (wanted[0],)), RestorePart("n2", (wanted[1],), skipped={"/work": "no room"})]
    row = Restore("r", 1, 1, 0, "n1", "cli:me", "cmd:1", parts=parts)
    assert [parts_by_place(row)[node, "/work"].skipped for node in ("n1", "n2")] == [{}, {"/work": "no room"}]


def test_the_command_that_undoes_it_names_the_agent() -> None:
    planned = RestorePlan(to=None, source="s-1", head=9, past=PAST, now=AGENTS, away=frozenset(), here="n1")
    of_y = Placement(agent="y", root="/root", workspace="/work", recorded="/work", node="n2")
    alone = Placement(agent="z", root="/root", workspace="/gone", recorded="/gone", node="n2")
    assert (planned.name_of(of_y), planned.name_of(alone)) == ("y", "")
