"""What a webhook is told of an alert, as Standard Webhooks has it: `{type, timestamp, data}`, below 20 kB.

It is made of the log alone, from the event that it tells of and the one before it that raised the alert: so it says the
same at each attempt, whatever has become of the alert since.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from maestro.model import events as e
from maestro.model.events import Event
from maestro.model.monitoring.alert import Alert, Delivery
from maestro.runtime.server.rows import when
from maestro.store.contract import LogStore

BODY_BYTES_MAX: Final = 20_000 - 1
TEXT_CHARS_MIN: Final = 64
SNOOZE_ENDED: Final = "snooze_ended"
"""What a snooze that is over is called: in the log it is a snooze until nothing."""
MARK: Final = " … (cut)"
STEPS_MAX: Final = 64
"""How many events of an alert are looked through for the one that raised it: it may have been snoozed since."""


def body(log: LogStore, delivery: Delivery, alert: Alert | None, namespace: str) -> bytes:
    """The body of a delivery. alert: its row as it is now, which stands in for what cannot be found in the log.

    Raises as reading the log does.
    """
    event = _event_of(log, delivery.seq, delivery.alert)
    raised = _raised(log, event, delivery.alert)
    told = raised.fact if raised is not None else None
    source: Any = told if isinstance(told, e.AlertRaised) else alert
    data: dict[str, Any] = {"id": delivery.alert, "namespace": namespace}
    for field in ("name", "subject", "severity", "what", "why", "node", "command"):
        data[field] = getattr(source, field, "")
    data["since"] = when(getattr(source, "since", 0) or (raised.at if raised is not None else 0))
    state = delivery.of
    match event.fact if event is not None else None:
        case e.AlertResolved() as fact:
            data["how"], data["reason"] = fact.how, fact.reason
        case e.AlertSnoozed() as fact:
            data["until"], data["reason"] = when(fact.until), fact.reason
            state = state if fact.until else SNOOZE_ENDED
        case _:
            pass
    data["state"] = state
    return _within(
        {
            "type": f"alert.{state}",
            "timestamp": when(event.at if event is not None else delivery.queued_at),
            "data": {name: _clean(value) if isinstance(value, str) else value for name, value in data.items()},
        }
    )


def _event_of(log: LogStore, seq: int, alert: str) -> Event | None:
    event = log.event(seq) if seq else None
    return event if event is not None and event.subject == f"alert:{alert}" else None


def _raised(log: LogStore, event: Event | None, alert: str) -> Event | None:
    """The event that raised the alert, at or before an event of it; None where a restore has cut the way back."""
    for _ in range(STEPS_MAX):
        if event is None or isinstance(event.fact, e.AlertRaised):
            return event
        event = _event_of(log, event.prev, alert)
    return None


def _clean(text: str) -> str:
    """The text without halves of characters, which no JSON carries."""
    return text.encode("utf-8", "replace").decode()


def _within(payload: dict[str, Any]) -> bytes:
    """The payload as JSON; the longest text is cut, and cut again, until all of it is short enough."""
    texts: dict[str, Any] = payload["data"]
    while len(data := msgspec.json.encode(payload)) > BODY_BYTES_MAX:
        name = max((name for name, text in texts.items() if isinstance(text, str)), key=lambda name: len(texts[name]))
        kept = texts[name].removesuffix(MARK)
        texts[name] = kept[: max(len(kept) // 2, TEXT_CHARS_MIN)] + MARK
        payload["data"]["cut"] = True
    return data
