"""Folders that have an owner, found by what lies in them or around them: by their levels, not by trying all of them.

So the folders of a thousand agents are compared with those of a thousand others in the time that naming them takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from maestro.workspaces.addresses import Address
from maestro.workspaces.ground import Ground, Identity, Place, levels

_Key = str | Identity | Address


class Held(NamedTuple):
    """A folder and who has it."""

    place: Place
    owner: str


class Territory:
    """Folders with their owners. Of those that share a level only two with different owners are kept for it: enough to
    name one that is not the asker's own.
    """

    def __init__(self, ground: Ground, folders: Iterable[tuple[str, str]] = ()) -> None:
        self._ground = ground
        self._at: dict[_Key, list[Held]] = {}
        self._below: dict[_Key, list[Held]] = {}
        self._shown: list[tuple[Address, Held]] | None = None
        for path, owner in folders:
            self.add(path, owner)

    def add(self, path: str, owner: str) -> None:
        """Enter a folder, also one that is there already: it may exist by now."""
        held = Held(self._ground.place(path), owner)
        place = held.place
        self._shown = None
        for key in (place.real, place.identity, place.address):
            if key is not None:
                _note(self._at, key, held)
        for level in levels(place.real):
            _note(self._below, level, held)
            if (identity := self._ground.identity(level)) is not None:
                _note(self._below, identity, held)
        for address in _levels(place.address):
            _note(self._below, address, held)

    def around(self, place: Place) -> Held | None:
        """A folder that this place is, or lies in; None where there is none."""
        return next((held for held in self._around(place) if place.is_in(held.place)), None)

    def within(self, place: Place) -> Held | None:
        """A folder that this place is, or contains; None where there is none."""
        return next((held for held in self._within(place) if held.place.is_in(place)), None)

    def overlap(self, place: Place, but: str | None = None) -> tuple[Held, str] | None:
        """A folder that overlaps this place, with the place's relation to it; None where there is none.

        but: an owner whose folders do not count.
        """
        for found in (self._around(place), self._within(place), self._mounted(place)):
            for held in found:
                if held.owner != but and (relation := place.overlaps(held.place)):
                    return held, relation
        return None

    def _around(self, place: Place) -> Iterator[Held]:
        for level in levels(place.real):
            yield from self._at.get(level, ())
            if (identity := self._ground.identity(level)) is not None:
                yield from self._at.get(identity, ())
        for address in _levels(place.address):
            yield from self._at.get(address, ())

    def _within(self, place: Place) -> Iterator[Held]:
        for key in (place.real, place.identity, place.address):
            if key is not None:
                yield from self._below.get(key, ())

    def _mounted(self, place: Place) -> Iterator[Held]:
        """Yield what meets this place through a mount inside one of both."""
        if self._shown is None:
            points = self._ground.mounts.points
            self._shown = [
                (shown, held) for point, shown in points for level in levels(point) for held in self._at.get(level, ())
            ]
        for shown, held in self._shown:
            if place.address is not None and (place.address.lies_in(shown) or shown.lies_in(place.address)):
                yield held
        for shown in place.inner:
            for address in _levels(shown):
                yield from self._at.get(address, ())
            yield from self._below.get(shown, ())


def _note(folders: dict[_Key, list[Held]], key: _Key, held: Held) -> None:
    """Enter a folder below a key, unless the key has folders of two owners already."""
    known = folders.setdefault(key, [])
    if not known or (len(known) == 1 and known[0].owner != held.owner):
        known.append(held)


def _levels(address: Address | None) -> Iterator[Address]:
    if address is not None:
        for path in levels(address.path):
            yield Address(address.device, path)
