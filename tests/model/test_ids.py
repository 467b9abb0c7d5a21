"""The id of a run: made of task, slot and attempt, and read, whatever the task is called."""

import pytest
from hypothesis import given, strategies as st

from maestro.model.ids import nearest, run_id, slot_of_run, task_of_run

TASKS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(TASKS, st.integers(0, 10_000), st.integers(1, 10_000))
def test_what_the_id_of_a_run_is_made_of_is_read_back(task: str, slot: int, attempt: int) -> None:
    run = run_id(task, slot, attempt)
    assert (task_of_run(run), slot_of_run(run)) == (task, slot)
    assert run.endswith(f".{attempt}")


@pytest.mark.parametrize(
    ("run", "task", "slot"),
    [("t-0.1", "t", 0), ("a-b-12.30", "a-b", 12), ("v1.2-3.4-0.2", "v1.2-3.4", 0)],
)
def test_only_the_last_hyphen_parts_the_id_of_a_run(run: str, task: str, slot: int) -> None:
    assert (task_of_run(run), slot_of_run(run)) == (task, slot)


@pytest.mark.parametrize("value", ["", "t", "t-x.y"])
def test_the_slot_of_what_is_no_run_raises(value: str) -> None:
    with pytest.raises(ValueError):
        slot_of_run(value)


def test_what_has_no_hyphen_belongs_to_no_task() -> None:
    assert task_of_run("t") == ""


@pytest.mark.parametrize(
    ("typed", "likeness", "found"),
    [
        ("tseter", 0.6, ["tester"]), ("TESTER", 0.6, ["tester"]), ("test", 0.6, ["tester", "tester-2"]),
        ("b9", 0.6, ["b1"]),
        ("", 0.6, []), ("zzz", 0.6, []), ("01M8NJE6Q65QDCKYQFTY3EN0M", 0.85, ["01M8NJE6Q65QDCKYQFTY3EN0M1"]),
        ("01M8NJE6Q6AAAAAAAAAAAAAAAA", 0.85, []),
    ],
)  # fmt: skip
def test_a_name_is_like_those_that_were_meant(typed: str, likeness: float, found: list[str]) -> None:
    known = ["b1", "tester", "tester-2", "builder", "01M8NJE6Q65QDCKYQFTY3EN0M1", "01M8NJEC2HY29GETF3PFH3H3VK"]
    assert nearest(typed, known, likeness) == found
