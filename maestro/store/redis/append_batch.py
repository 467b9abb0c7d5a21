"""A batch of appends encoded for the append script: its keys and arguments, and the decoding of its replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from maestro.store.codec import encode_append
from maestro.store.contract import Append, AppendResult, Committed, Head, Rejected
from maestro.store.keys import Keys

FIRST_PART, PART = 16, 48
"""The first part of a batch is small, so that the server begins soon."""
_pack = msgspec.msgpack.Encoder().encode


class AppendBatch:
    """Appends encoded for one call of the append script.

    keys, args: those of the script call.
    bad: by position in the batch, the appends that can never be sent, with their results.
    """

    def __init__(self, keys: Keys, group: Sequence[Append], known: Head) -> None:
        self._group = group
        self.keys = [keys.log, keys.versions]
        # The script refers to a key by its index in KEYS; the leases come before the streams.
        self._lease_at: dict[str, int] = {}
        self._stream_at: dict[str, int] = {}
        for append in group:
            if append.fence:
                self._lease_at.setdefault(append.fence.lease, len(self._lease_at) + 3)
        for append in group:
            for hint in append.hints:
                self._stream_at.setdefault(hint.stream, len(self._lease_at) + len(self._stream_at) + 3)
        if self._lease_at or self._stream_at:
            self.keys += map(keys.lease, self._lease_at)
            self.keys += map(keys.work, self._stream_at)
        self.bad: dict[int, Rejected] = {}
        self.args: list[bytes | str | int] = [known.seq or "", known.chain]
        for position, append in enumerate(group):
            encoded = encode_append(append)
            if isinstance(encoded, Rejected):
                self.bad[position] = encoded
                continue
            body: list[object] = [append.actor, append.cause, self._options(append)]
            for event in encoded:
                body += event
            self.args.append(_pack(body))

    def _options(self, append: Append) -> bool | list[str]:
        fence, hints = append.fence, append.hints
        if not (hints or fence or append.floors or append.resend or append.follows or append.read_at >= 0):
            return False
        options = [str(append.since) if append.resend else ""]
        options += (str(self._lease_at[fence.lease]), fence.holder) if fence else ("", "")
        options += ("1" if append.floors else "", str(append.read_at) if append.read_at >= 0 else "")
        options += (str(len(append.follows)), *append.follows)
        for hint in hints:
            options += (str(self._stream_at[hint.stream]), hint.run, str(hint.event), str(hint.token))
        return options

    def results(self, at: int, replies: list[Any]) -> list[AppendResult]:
        """The results of all appends in the order of the batch, from the script's replies."""
        results: list[AppendResult] = []
        answers = iter(replies)
        for position, append in enumerate(self._group):
            if position in self.bad:
                results.append(self.bad[position])
                continue
            answer = next(answers)
            if type(answer) is int:
                results.append(Committed(answer, answer + len(append.events) - 1, at))
            else:
                results.append(_unusual(append, answer))
        return results


def _unusual(append: Append, answer: list[Any]) -> AppendResult:
    """The result of an append whose events the script did not write."""
    match answer:
        case [b"seen", first, last, at]:
            return Committed(first, last, at, duplicate=True)
        case [b"version" | b"sealed" as reason, index, actual]:
            event = append.events[index]
            return Rejected(reason.decode(), event.subject, -1 if event.expected is None else event.expected, actual)
        case _:
            return Rejected("fence", append.events[0].subject)


def split_batch(group: Sequence[Append]) -> Sequence[Sequence[Append]]:
    """Split a large batch into several script calls, which are sent together.

    Only a batch in which each append names the version of its first event is split. An event for any version must not
    take an equal one in the same batch for an earlier try of itself, and the script knows only the entries that it
    wrote in this call.
    """
    if len(group) <= PART or any(not append.events or append.events[0].expected is None for append in group):
        return (group,)
    rest = len(group) - FIRST_PART
    size = -(-rest // -(-rest // PART))  # parts of equal size, as each call costs as much as two events
    return [group[:FIRST_PART], *(group[start : start + size] for start in range(FIRST_PART, len(group), size))]
