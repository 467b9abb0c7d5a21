"""Questions to people: a request for permission that the type's policy leaves open, asked through the run's socket."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from maestro.acp.permissions import Policy, Request, cut

AGAIN_S = 1.0
TRIES_MAX = 60


class Questions:
    """Asks questions, each in a thread of its own, which ends with the answer. wake: written to with each answer.

    trouble: gets, from such a thread, why a question could not be asked.
    """

    def __init__(self, policy: Policy, wake: int, trouble: Callable[[str], None]) -> None:
        self._policy = policy
        self._wake = wake
        self._trouble = trouble

    def ask(self, number: int, request: Request, then: Callable[[str], None]) -> None:
        """Ask a question; `then` gets the answer: the id of an option, or "" where there comes none."""

        def wait() -> None:
            then(self._answer(number, request))
            os.write(self._wake, b".")

        threading.Thread(target=wait, daemon=True).start()

    def _answer(self, number: int, request: Request) -> str:
        """The answer of the daemon. A daemon or store that is away is asked again: the question stays the same."""
        from maestro.model.errors import MaestroError, StoreAway
        from maestro.runtime.client.client import ask_of_run
        from maestro.runtime.protocol import messages as p

        options = tuple((one, kind, cut(name)) for one, kind, name in request.options)
        command = p.RunAsk(number, cut(request.title), request.kind, options, self._policy.answer_s)
        why = "it was not asked"
        for _ in range(TRIES_MAX):
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
            time.sleep(AGAIN_S)
        self._trouble(why)
        return ""
