"""The cut of a list: what an answer says where it holds only a part of the rows that there are."""

from __future__ import annotations

import msgspec


class Cut(msgspec.Struct, frozen=True):
    """A list that is only a part. shown: how many of `what` it holds; more: how to see more of them.

    total: how many there are, None where they were not counted, so that it may be no more than those.
    """

    shown: int
    what: str
    more: str
    total: int | None = None

    def line(self) -> str:
        """The line for stderr."""
        one, of = self.shown == 1, "" if self.total is None else f" of {self.total}"
        noun, blank, rest = self.what.partition(" ")
        what = noun.removesuffix("s") + blank + rest if one and not of else self.what
        return f"only {self.shown}{of} {what} {'is' if one else 'are'} shown; {self.more}"


def cut_of_page(shown: int, what: str, limit_max: int, total: int | None = None) -> Cut:
    """The cut of a list by its --limit, which may be `limit_max` at most."""
    if total is not None and total <= limit_max:
        return Cut(shown, what, f"--limit {total} shows all", total)
    if shown < limit_max:
        return Cut(shown, what, f"--limit takes up to {limit_max}", total)
    return Cut(shown, what, "no --limit shows more than that: filter them", total)
