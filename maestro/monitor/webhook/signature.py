"""The headers of Standard Webhooks (https://www.standardwebhooks.com): who sends it, and when, proved by secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence


def headers(delivery: str, at_s: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers of a message. at_s: the time of this attempt. keys: each gives a signature, in order; () none.

    A receiver takes the message where one of the signatures is that of the secret it knows, so that secrets can be
    exchanged one side after the other.
    """
    found = {"webhook-id": delivery, "webhook-timestamp": str(at_s)}
    if keys:
        found["webhook-signature"] = " ".join(_signature(key, delivery, at_s, body) for key in keys)
    return found


def _signature(key: bytes, delivery: str, at_s: int, body: bytes) -> str:
    digest = hmac.new(key, f"{delivery}.{at_s}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
