"""What an earlier try of a fork has left in the store, where it was broken off; and a log that is no such thing."""

from __future__ import annotations

from contextlib import closing

from maestro import setting_values
from maestro.config import Settings
from maestro.model.errors import Refused
from maestro.model.events import LogBranched, LogForked
from maestro.model.forks.fork import SUBJECT, Branch
from maestro.store.contract import Store
from maestro.store.embedded import choice
from maestro.store.redis.redis_store import open_redis
from replayers.checkpoint import same_history

NAMES_MAX = 20


def begun_at(settings: Settings, wanted: Branch, stage: Branch | None) -> int:
    """The last shared position of a try that was broken off, 0 for none. Blocks.

    Its log says it where a server has that: its folder may have been removed by another try since. wanted: the fork,
    whatever its position; stage: what the folder says in which it was built.
    """
    chosen = choice.choose(settings)
    if chosen.kind != "embedded":
        with closing(open_redis(chosen.url, wanted.into)) as target:
            at = target.log.version(SUBJECT)
            fact = _branched(target, at, wanted)
        if fact is not None:
            return fact.at
    return stage.position if stage is not None and (stage.into, stage.root) == (wanted.into, wanted.root) else 0


def is_begun(store: Store, branch: Branch, chain: str, url: str) -> bool:
    """Whether an earlier try of this fork has loaded its log. Raises Refused for any other log. Blocks.

    store: of the fork, at this url; chain: of the last shared event.
    """
    found = same_history(store, branch.position, chain)
    if found == "empty":
        return False
    if found == "same" and _branched(store, branch.position + 1, branch) is not None and _is_unused(store, branch):
        return True
    first = store.log.event(1)
    flushed = first is not None and isinstance(first.fact, LogForked) and first.fact.erased
    has = "was flushed, which its log tells for ever" if flushed else "has a log of its own"
    raise Refused(f"the namespace {branch.into} {has}", "--into", f"name one that has none yet{_free(url, branch)}")


def _branched(store: Store, at: int, branch: Branch) -> LogBranched | None:
    event = store.log.event(at) if at else None
    fact = event.fact if event is not None else None
    is_it = isinstance(fact, LogBranched) and (fact.source, fact.root) == (branch.source, branch.root)
    return fact if is_it and isinstance(fact, LogBranched) else None


def _is_unused(store: Store, branch: Branch) -> bool:
    """Whether nothing has been appended since it was loaded: all of that has one cause."""
    first, last = store.log.event(branch.position + 1), store.log.event(store.log.head().seq)
    return first is not None and last is not None and (first.cause, first.at) == (last.cause, last.at)


def _free(url: str, branch: Branch) -> str:
    """Behind a remedy: a name that is free, where one is found."""
    for number in range(2, NAMES_MAX):
        name = f"{branch.into}-{number}"
        try:
            setting_values.namespace(name)
        except ValueError:
            break
        with closing(open_redis(url, name)) as other:
            if name != branch.source and not other.log.head().seq:
                return f", such as {name}"
    return ""
