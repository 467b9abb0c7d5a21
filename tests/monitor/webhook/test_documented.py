"""What the document tells receivers is true: its example of a check, and its example of a message."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from maestro.model.monitoring.alert import Alert, Delivery
from maestro.monitor.webhook import signature
from maestro.runtime.monitor.payload import body
from maestro.setting_values import webhook_secrets
from maestro.store.memory.memory_store import MemoryStore
from tests.test_webhook_secrets import SECRETS

DOCUMENT = (Path(__file__).parents[3] / "maestro/docs/monitoring.md").read_text().partition("## Webhooks")[2]


@pytest.fixture(scope="module")
def verified() -> Callable[[str, dict[str, str], bytes], bool]:
    names: dict[str, Any] = {}
    exec(DOCUMENT.partition("```python\n")[2].partition("```")[0], names)
    found: Callable[[str, dict[str, str], bytes], bool] = names["verified"]
    return found


def test_the_check_in_the_document_takes_what_is_sent_and_nothing_else(
    verified: Callable[[str, dict[str, str], bytes], bool],
) -> None:
    sent = signature.headers("d1", int(time.time()), b"{}", webhook_secrets(SECRETS))
    for secret in SECRETS.split(", "):
        assert verified(secret, sent, b"{}")
        assert not verified(secret, sent, b"{} ")
        assert not verified(secret, sent | {"webhook-id": "d2"}, b"{}")
        old = signature.headers("d1", int(time.time()) - 400, b"{}", webhook_secrets(secret))
        assert not verified(secret, old, b"{}")
    assert not verified("whsec_" + "Y" * 32, sent, b"{}")
    assert not verified("whsec_" + "Y" * 32, signature.headers("d1", int(time.time()), b"{}", ()), b"{}")


def test_the_message_in_the_document_has_the_fields_of_a_real_one() -> None:
    shown = msgspec.json.decode(DOCUMENT.partition("```json\n")[2].partition("```")[0])
    alert = Alert("a", 1, "task_failed", "t", "warning", "it failed", since=1)
    real = msgspec.json.decode(body(MemoryStore("m").log, Delivery("d", 1, "e", "a", "raised", 0), alert, "default"))
    assert list(shown) == list(real) and set(shown["data"]) == set(real["data"])
    assert shown["type"] == real["type"]
