"""The conversation with an agent, by version 1 of the Agent Client Protocol: initialize, a session, one prompt.

The client that it is offers neither files nor terminals: the agent uses its own tools, in the workspace, beneath the
run's warden. It trusts nothing that the agent says: answers that nobody waits for, lines that are no messages and
requests that it does not know are told in the report, and change nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from maestro.acp.agent_process import AgentProcess, TooLong
from maestro.acp.permissions import Policy, Request, cut, request_of
from maestro.acp.readings import is_amount, meta, named, refusal, said
from maestro.acp.report import Report
from maestro.model.permissions.policy import Ruling

PROTOCOL = 1
START_S = 120.0
"""How long an agent may take to answer each message before the prompt: a model has no part in those."""
NOTES_MAX = 100
OPEN_MAX = 16
"""So many requests for permission may wait for people at once; more are rejected."""
ID_CHARS_MAX = 512
METHOD_NOT_FOUND = -32601
CAPABILITIES = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
TEXTS = {"agent_message_chunk": "text", "agent_thought_chunk": "thought"}


class Failure(Exception):
    """The agent did not keep to the protocol, or refused a request: the run cannot go on."""


class Errand(NamedTuple):
    """What is to be done. version: of Maestro. mode, session: "" for none. beat_s: so often a wait for an answer is
    told. grace_s: how long a prompt that is cancelled may take to end.
    """

    version: str
    prompt: str
    workspace: str
    mode: str = ""
    session: str = ""
    beat_s: float = 30.0
    grace_s: float = 5.0


class Asking(Protocol):
    """Tells the daemon of requests for permission. What is called then is so from any thread."""

    def ask(self, number: int, request: Request, then: Callable[[str], None]) -> None:
        """Have it answered; the answer "" cancels the request."""

    def record(self, number: int, request: Request, ruling: Ruling, then: Callable[[], None]) -> None:
        """Have recorded what the policy has decided."""


class Driver:
    """Drives one agent through one prompt."""

    def __init__(self, agent: AgentProcess, errand: Errand, policy: Policy, report: Report) -> None:
        self._agent = agent
        self._errand = errand
        self._policy = policy
        self._report = report
        self.questions: Asking
        self._waiting: set[int] = set()
        self._number = 0
        self._notes = 0
        self._awaited: int | None = None
        self._answer: dict[str, Any] | None = None
        self._replayed = False
        self._session = ""
        self._asked: dict[int, tuple[Any, Request]] = {}
        self._answered: list[tuple[int, str]] = []
        self._troubles: list[str] = []
        self._told_at = time.monotonic()
        self.stopping = False

    # ---- the errand ----

    def conduct(self) -> int:
        """Do the errand; the exit code of the run. Raises Failure."""
        offered = self._initialize()
        state = self._open_session(offered)
        self._report.event("session", session=self._session)
        if not self._set_mode(state):
            return 0
        prompt = [{"type": "text", "text": self._errand.prompt}]
        result = self._request("session/prompt", {"sessionId": self._session, "prompt": prompt}, None)
        self._usage("turn", result.get("usage") or meta(result).get("usage"))
        self._report.event("done", stop_reason=cut(result.get("stopReason")) or "none")
        return 0

    def _initialize(self) -> dict[str, Any]:
        about = {"name": "maestro", "title": "Maestro", "version": self._errand.version}
        params = {"protocolVersion": PROTOCOL, "clientCapabilities": CAPABILITIES, "clientInfo": about}
        result = self._request("initialize", params, START_S)
        if (spoken := result.get("protocolVersion")) != PROTOCOL:
            raise Failure(f"it speaks version {spoken!r} of the protocol, and Maestro version {PROTOCOL}")
        self._report.event("agent", **named(result.get("agentInfo")))
        offered = result.get("agentCapabilities")
        return offered if isinstance(offered, dict) else {}

    def _open_session(self, offered: dict[str, Any]) -> dict[str, Any]:
        """Open a session, or go on with the one that is asked for; what the agent says of it."""
        params: dict[str, Any] = {"cwd": self._errand.workspace, "mcpServers": []}
        if not self._errand.session:
            result = self._request("session/new", params, START_S)
            self._session = result.get("sessionId", "")
            if not isinstance(self._session, str) or not 0 < len(self._session) <= ID_CHARS_MAX:
                raise Failure("its answer to session/new has no usable sessionId")
            return result
        self._session = self._errand.session
        sessions = offered.get("sessionCapabilities")
        if isinstance(sessions, dict) and sessions.get("resume") is not None:
            way = "session/resume"
        elif offered.get("loadSession") is True:
            way = "session/load"
        else:
            raise Failure("it can neither load nor resume a session; retry the task without --continue")
        self._replayed = True
        result = self._request(way, {"sessionId": self._session, **params}, START_S)
        self._replayed = False
        return result

    def _set_mode(self, state: dict[str, Any]) -> bool:
        """Set the mode that is asked for; False where the agent does not have it, which is told."""
        modes = state.get("modes")
        modes = modes if isinstance(modes, dict) else {}
        known = modes.get("availableModes")
        ids = [one.get("id") for one in (known if isinstance(known, list) else ()) if isinstance(one, dict)]
        mode = self._errand.mode
        if not mode or not ids or modes.get("currentModeId") == mode:
            return True
        if mode in ids:
            self._request("session/set_mode", {"sessionId": self._session, "modeId": mode}, START_S)
            return True
        has = ", ".join(cut(one) for one in ids)
        print(f"maestro: the agent has no mode {mode}, it has {has}", file=sys.stderr)
        self._report.event("done", stop_reason="wrong_mode")
        return False

    # ---- messages ----

    def _request(self, method: str, params: dict[str, Any], limit_s: float | None) -> dict[str, Any]:
        """Send a request and wait for its answer, doing meanwhile what the agent asks for. Raises Failure."""
        self._number += 1
        self._awaited, self._answer = self._number, None
        self._agent.send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        until = time.monotonic() + (float("inf") if limit_s is None else limit_s)
        cancelled, last_s = False, limit_s
        while self._answer is None:
            if self.stopping and not cancelled:
                cancelled, until, last_s = True, self._cancel(), self._errand.grace_s
            if self._agent.over:
                raise Failure(f"{self._agent.ended_how()}, without an answer to {method}")
            if (left_s := until - time.monotonic()) <= 0:
                raise Failure(f"it did not answer {method} within {last_s:g} s")
            self._agent.pump(min(left_s, self._report.wait_s(), self._beat()), self._take)
            self._report.flush_due()
            self._pass_on_answers()
        self._awaited = None
        answer, self._answer = self._answer, None
        if (error := answer.get("error")) is not None:
            raise Failure(refusal(method, error))
        result = answer.get("result")
        return result if isinstance(result, dict) else {}

    def _cancel(self) -> float:
        """Ask the agent to end its turn; until when that is waited for."""
        if self._session:
            self._notify("session/cancel", {"sessionId": self._session})
        for number in list(self._asked):
            self._settle(number, "", "the run is stopped")
        return time.monotonic() + self._errand.grace_s

    def _notify(self, method: str, params: dict[str, Any]) -> None:
        self._agent.send({"jsonrpc": "2.0", "method": method, "params": params})

    def _take(self, line: bytes | TooLong) -> None:
        """Take a line that the agent has printed."""
        if isinstance(line, TooLong):
            if b'"session/update"' not in line.head:
                raise Failure(f"a message of {line.size} bytes is above the limit")
            self._note(f"an update of {line.size} bytes was left out")
            return
        if not line.strip():
            return
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self._note("a line that is no message", line=self._report.cut(line.decode("utf-8", "replace")))
        elif "method" not in message:
            self._take_answer(message)
        elif "id" in message:
            self._take_request(message)
        elif message["method"] == "session/update":
            params = message.get("params")
            update = params.get("update") if isinstance(params, dict) else None
            if isinstance(update, dict) and not self._replayed:
                self._take_update(update)

    def _take_answer(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if number is None or number != self._awaited or self._answer is not None or isinstance(number, bool):
            self._note("an answer that nobody waits for", id=cut(str(number)))
        else:
            self._answer = message

    def _take_request(self, message: dict[str, Any]) -> None:
        if message["method"] != "session/request_permission":
            error = {"code": METHOD_NOT_FOUND, "message": "this client does not offer that"}
            self._agent.send({"jsonrpc": "2.0", "id": message["id"], "error": error})
            self._note("a request for what is not offered", method=cut(str(message["method"])))
            return
        params = message.get("params")
        request = request_of(params if isinstance(params, dict) else {}, self._report.cut)
        self._number += 1
        number = self._number
        self._asked[number] = (message["id"], request)
        if self.stopping:
            self._settle(number, "", "the run is stopped")
            return
        ruling = self._policy.ruling(request.kind)
        if ruling.answer == "ask" and len(self._waiting & self._asked.keys()) >= OPEN_MAX:
            ruling = Ruling("reject", f"{OPEN_MAX} other requests of the run wait for answers")
        if ruling.answer != "ask":
            self.questions.record(number, request, ruling, lambda: self._answered.append((number, ruling.answer)))
            return
        self._waiting.add(number)
        options = [{"id": one, "kind": kind, "name": name} for one, kind, name in request.options]
        self._report.event("permission_asked", number=number, title=request.title, options=options)
        self.questions.ask(number, request, lambda answer: self._answered.append((number, answer)))

    def trouble(self, why: str) -> None:
        """Take why a question could not be asked, from any thread."""
        self._troubles.append(why)

    def _pass_on_answers(self) -> None:
        while self._troubles:
            self._note("of a request for permission", why=cut(self._troubles.pop(0)))
        while self._answered:
            number, answer = self._answered.pop(0)
            self._settle(number, answer, "answer" if number in self._waiting else "policy")

    def _settle(self, number: int, answer: str, by: str) -> None:
        """Answer a request for permission; "" and what is no option of it cancel it."""
        if number not in self._asked:
            return
        name, request = self._asked.pop(number)
        option = request.option(answer)
        outcome = {"outcome": "selected", "optionId": option} if option else {"outcome": "cancelled"}
        self._agent.send({"jsonrpc": "2.0", "id": name, "result": {"outcome": outcome}})
        rejected = not option or request.kind_of(option).startswith("reject")
        told = {"answer": answer or "cancel", "option": option or None, "by": by, "rejected": rejected}
        self._report.event("permission", title=request.title, kind=request.kind, **told)

    # ---- what is told ----

    def _take_update(self, update: dict[str, Any]) -> None:
        kind = update.get("sessionUpdate")
        kind = kind if isinstance(kind, str) else ""
        self._usage("request", meta(update).get("usage"))
        if kind in TEXTS:
            content = update.get("content")
            text = content.get("text") if isinstance(content, dict) else None
            if isinstance(text, str) and text:
                self._report.text(TEXTS[kind], text)
        elif kind in ("tool_call", "tool_call_update"):
            told = {name: self._report.cut(update.get(name)) or None for name in ("title", "kind", "status")}
            self._report.event(
                kind, id=cut(update.get("toolCallId")), **told, text=self._report.cut(said(update)) or None
            )
        elif kind == "usage_update":
            cost = update.get("cost")
            amount = cost.get("amount") if isinstance(cost, dict) else None
            if is_amount(amount):
                self._report.event("usage", of="session", usage={"cost": amount})
        elif kind == "current_mode_update":
            self._report.event("mode", mode=cut(update.get("currentModeId")))

    def _usage(self, of: str, usage: object) -> None:
        """Tell the numbers that the agent has told. of: a request to the model, the turn, or the session."""
        if isinstance(usage, dict):
            told = {name: value for name, value in usage.items() if is_amount(value)}
            if any(told.values()):
                self._report.event("usage", of=of, usage=dict(list(told.items())[:20]))

    def _note(self, text: str, **fields: str) -> None:
        self._notes += 1
        if self._notes <= NOTES_MAX:
            self._report.event("note", text=text, **fields)

    def _beat(self) -> float:
        """Tell now and then that an answer is waited for, as this is no silence of the agent's; when to do it next."""
        if not self._asked:
            self._told_at = time.monotonic()
            return float("inf")
        if time.monotonic() - self._told_at >= self._errand.beat_s:
            self._told_at = time.monotonic()
            self._report.event("waiting", permissions=len(self._asked))
        return self._told_at + self._errand.beat_s - time.monotonic()
