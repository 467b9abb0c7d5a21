"""What has changed of a definition since an agent was assigned, also where the file that it came from is gone."""

from __future__ import annotations

from pathlib import Path

from maestro.agents.definitions import load
from maestro.model.agent import Agent
from maestro.runtime.monitor.definition_change import change

LATER = 2**50
"""The time of an assignment that is newer than every file."""


def test_a_file_that_is_gone_is_told_where_another_one_counts_by_now(tmp_path: Path) -> None:
    first, last = tmp_path / "first", tmp_path / "last"
    for folder, value in ((first, "1"), (last, "2")):
        folder.mkdir()
        (folder / "t.yaml").write_text(f'slug: t\nadapter: shell\nenv: {{A: "{value}"}}\n')
    definition = load("t", [first, last]).to_dict()
    row = Agent("a", 1, "t", definition, "/root", assigned_at=LATER)
    assert change(row, [first, last]) == ""
    (last / "t.yaml").unlink()
    told = "the definition of agent a has changed since (env, source): maestro agent register t takes it"
    assert change(row, [first, last]) == told
    (first / "t.yaml").unlink()
    assert change(row, [first, last]) == ""
