"""Requests for permission, told to the daemon through the run's socket: what the policy leaves open is asked, what it
decides is recorded.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable

from maestro.acp.permissions import Policy, Request
from maestro.model.permissions.policy import Ruling

AGAIN_S = 1.0
TRIES_MAX = 60
TRIES_TO_RECORD = 5
RECORDS_MAX = 1000
"""So many decisions of the policy a run has recorded; what is decided behind them is in its log only."""


class Questions:
    """Asks questions, each in a thread of its own, which ends with the answer. wake: written to with each answer.

    trouble: gets, from such a thread, why a question could not be asked.
    """

    def __init__(self, policy: Policy, wake: int, trouble: Callable[[str], None]) -> None:
        self._policy = policy
        self._wake = wake
        self._trouble = trouble
        self._records: queue.SimpleQueue[tuple[int, Request, Ruling, Callable[[], None]]] = queue.SimpleQueue()
        self._recorded = 0
        self._tries_to_record = TRIES_TO_RECORD

    def record(self, number: int, request: Request, ruling: Ruling, then: Callable[[], None]) -> None:
        """Have recorded what the policy has decided, one after the other; `then` is called when it is, or cannot be."""
        self._recorded += 1
        if self._recorded > RECORDS_MAX:
            if self._recorded == RECORDS_MAX + 1:
                self._trouble(f"more than {RECORDS_MAX} decisions of the policy: the others are told here only")
            then()
            os.write(self._wake, b".")
            return
        if self._recorded == 1:
            threading.Thread(target=self._keep_recording, daemon=True).start()
        self._records.put((number, request, ruling, then))

    def _keep_recording(self) -> None:
        while True:
            number, request, ruling, then = self._records.get()
            is_kept = self._answer(number, request, ruling) is not None
            self._tries_to_record = TRIES_TO_RECORD if is_kept else 1  # an outage holds a run up once, not each time
            then()
            os.write(self._wake, b".")

    def ask(self, number: int, request: Request, then: Callable[[str], None]) -> None:
        """Ask a question; `then` gets the answer: the id of an option, or "" where there comes none."""

        def wait() -> None:
            then(self._answer(number, request) or "")
            os.write(self._wake, b".")

        threading.Thread(target=wait, daemon=True).start()

    def _answer(self, number: int, request: Request, ruling: Ruling | None = None) -> str | None:
        """The answer of the daemon, None for none. One that is away is asked again: the question stays the same.

        ruling: what the policy has decided already.
        """
        from maestro.model.errors import MaestroError, StoreAway
        from maestro.runtime.client.client import ask_of_run
        from maestro.runtime.protocol import messages as p

        command = p.RunAsk(number, request.title, request.kind, request.options, self._policy.answer_s, *(ruling or ()))
        why = "it was not asked"
        tries = TRIES_MAX if ruling is None else self._tries_to_record
        for again in range(tries):
            if again:
                time.sleep(AGAIN_S)
            try:
                end = ask_of_run(command)
            except (StoreAway, OSError) as error:
                why = error.line() if isinstance(error, MaestroError) else str(error)
            except MaestroError as error:
                why = error.line()
                break
            else:
                if isinstance(end, p.Done):
                    return str(end.data["answer"])
                why = getattr(end, "what", "the daemon starts anew")
                if getattr(end, "code", "") != StoreAway.code and isinstance(end, p.Failed):
                    break
        self._trouble(why if ruling is None else f"what the policy has decided is not recorded: {why}")
        return None
