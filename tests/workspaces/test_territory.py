"""Folders with owners: levels find what a comparison with all of them finds, at a cost that grows with their number."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from maestro.workspaces import guards
from maestro.workspaces.ground import Ground
from maestro.workspaces.territory import Territory
from tests.counting import RATIO_MAX, calls


def paths(top: Path) -> list[str]:
    """Folders of up to three levels, some there, some not, and some behind links to others."""
    found = [top.joinpath(*names) for depth in (1, 2, 3) for names in itertools.product("ab", repeat=depth)]
    for path in found[::3]:
        path.mkdir(parents=True, exist_ok=True)
    (top / "link").symlink_to("a")
    (top / "a/loop").symlink_to("..")
    return [str(path) for path in (*found, top / "link", top / "link/b", top / "link/new", top / "a/loop/b", top / "c")]


@pytest.mark.parametrize("seed", range(20))
def test_levels_find_what_a_comparison_with_each_folder_finds(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    some = paths(tmp_path)
    held = [(path, f"owner {number}") for number, path in enumerate(chance.sample(some, 4))]
    ground = Ground()
    territory = Territory(ground, held)
    for path, own in itertools.product(some, (None, held[0][1])):
        place = ground.place(path)
        relations = {owner: place.overlaps(ground.place(folder)) for folder, owner in held if owner != own}
        found = territory.overlap(place, own)
        assert (found is None) == (not any(relations.values())), path
        assert found is None or relations[found[0].owner] == found[1]
        assert (territory.around(place) is None) == (not any(place.is_in(ground.place(one)) for one, _ in held))
        assert (territory.within(place) is None) == (not any(ground.place(one).is_in(place) for one, _ in held))


def test_the_folders_of_twice_as_many_agents_are_checked_with_twice_the_calls(tmp_path: Path) -> None:
    def check(agents: int) -> None:
        claims = [guards.Claim(f"a{one}", str(tmp_path / "root"), str(tmp_path / f"w{one}")) for one in range(agents)]
        neighbours = guards.Neighbours(tmp_path / "home", claims)
        for claim in claims:
            neighbours.check(claim.agent, str(claim.workspace), claim.workspace_root)

    assert calls(lambda: check(400)).total() < RATIO_MAX * calls(lambda: check(200)).total()


def test_one_check_looks_at_each_folder_once(tmp_path: Path) -> None:
    """At each of its levels, for its device and its mount, it was looked at 20 times."""

    def check(agents: int) -> None:
        claims = [guards.Claim(f"a{one}", str(tmp_path / "root"), str(tmp_path / f"w{one}")) for one in range(agents)]
        guards.check_workspace("a", str(tmp_path / "w"), root=tmp_path / "root", home=tmp_path / "home", claims=claims)

    few, many = calls(lambda: check(0)), calls(lambda: check(100))
    assert sum(many[look] - few[look] for look in ("lstat", "stat", "open")) <= 2 * 100  # workspace, folder of runs


def test_a_workspace_that_was_made_meanwhile_counts(tmp_path: Path) -> None:
    neighbours = guards.Neighbours(tmp_path / "home", [guards.Claim("a", str(tmp_path / "root"), str(tmp_path / "a"))])
    assert neighbours.check("b", str(tmp_path / "new/b"), tmp_path / "root")
    (tmp_path / "new/b").mkdir(parents=True)
    neighbours.enter("b", str(tmp_path / "new/b"))
    with pytest.raises(guards.Refused, match="contains the workspace of agent b"):
        neighbours.check("c", str(tmp_path / "new"), tmp_path / "root")
