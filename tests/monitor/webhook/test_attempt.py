"""One attempt at a delivery, at a real receiver with each of its faults; addresses are checked, and then used."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from email.utils import formatdate

import pytest
import trio
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from maestro.monitor.webhook import attempt as attempts, signature
from maestro.monitor.webhook.attempt import Outcome, Resolver, Sender, retry_after
from maestro.monitor.webhook.target import targets
from tests.monitor.webhook.receiver import CERTIFICATE, KEYS, Receiver, answers, receiving, says

BODY = b'{"type":"alert.raised","timestamp":"2026-05-01T12:00:00.000Z","data":{"what":"\xc3\xa9"}}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def tls() -> Iterator[Receiver]:
    with receiving(tls=True) as receiver:
        yield receiver


def at(*addresses: str) -> Resolver:
    """A resolver that knows one answer."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


PLAIN = ssl.create_default_context()
"""Shared, as to read all authorities takes a tenth of a second."""


def sender_to(*addresses: str, private: bool = False) -> Sender:
    return Sender(private, PLAIN, at(*addresses))


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def send(url: str, sender: Sender | None = None) -> Outcome:
    """Make one attempt."""
    sender = sender or Sender(True, PLAIN)
    (target,) = targets([url], allow_private=True)
    headers = signature.headers("d1", int(time.time()), BODY, KEYS)
    return trio.run(sender.attempt, target, headers, BODY)


def test_a_message_is_what_the_library_of_the_standard_takes(receiver: Receiver) -> None:
    assert send(receiver.url("/hook?x=1")) == Outcome(204)
    (request,) = receiver.requests
    assert (request.path, request.body) == ("/hook?x=1", BODY)
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "d1"
    for key in KEYS:
        assert Webhook(key).verify(request.body, request.headers)["type"] == "alert.raised"
    with pytest.raises(WebhookVerificationError):
        Webhook(b"x" * 32).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(KEYS[0]).verify(request.body.replace(b"raised", b"solved"), request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(KEYS[0]).verify(request.body, request.headers | {"webhook-id": "d2"})


def test_without_secrets_there_is_no_signature() -> None:
    assert set(signature.headers("d1", 1, b"{}", ())) == {"webhook-id", "webhook-timestamp"}


BROKEN_OFF = Outcome(why="its answer breaks off, or is no HTTP")
REDIRECT = "http://127.0.0.1/inside"
FAULTS = {
    "500": (answers(500), Outcome(500, "it answered 500")),
    "404": (answers(404), Outcome(404, "it answered 404")),
    "410": (answers(410), Outcome(410, "it answered 410: it wants nothing more", disabled=True)),
    "429": (answers(429, "Retry-After: 77"), Outcome(429, "it answered 429", 77.0)),
    "503": (answers(503, "Retry-After: 9999999999999999999"), Outcome(503, "it answered 503", 86400.0)),
    "odd wish": (answers(503, "Retry-After: soon, -1"), Outcome(503, "it answered 503")),
    "redirect": (
        answers(302, f"Location: {REDIRECT}"),
        Outcome(302, "it answered 302: a redirect, which is not followed"),
    ),
    "kept": (answers(307, "Location: /other"), Outcome(307, "it answered 307: a redirect, which is not followed")),
    "silence": (says(b""), BROKEN_OFF),
    "no http": (says(b"220 mail.example ESMTP\r\n"), BROKEN_OFF),
    "cut head": (says(b"HTTP/1.1 200 OK\r\nContent-"), BROKEN_OFF),
    "endless head": (says(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000), BROKEN_OFF),
    "wrong length": (says(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx"), Outcome(200)),
    "odd length": (says(b"HTTP/1.1 500 No\r\nContent-Length: -9\r\n\r\n"), BROKEN_OFF),
    "switch": (says(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), BROKEN_OFF),
    "bomb": (answers(200, "Content-Encoding: gzip", body=b"no gzip"), Outcome(200)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_and_no_redirect_followed(receiver: Receiver, fault: str) -> None:
    receiver.behaviours["/hook"], expected = FAULTS[fault]
    assert send(receiver.url("/hook")) == expected
    assert (receiver.connections, [request.path for request in receiver.requests]) == (1, ["/hook"])


def test_of_a_huge_answer_only_the_head_is_read(receiver: Receiver) -> None:
    sent = []

    def pours(sock: object, _: object) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")  # type: ignore[attr-defined]
        try:
            while True:
                sent.append(sock.send(b"x" * 65536))  # type: ignore[attr-defined]
        except OSError:
            receiver.released.set()

    receiver.behaviours["/hook"] = pours
    assert send(receiver.url("/hook")) == Outcome(200)
    assert receiver.released.wait(30), "the connection was not closed"
    assert sum(sent) < 64 * 1024 * 1024


@pytest.mark.parametrize("fault", ["hangs", "drips"])
def test_one_that_hangs_or_drips_is_left_at_the_deadline(
    receiver: Receiver, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "DEADLINE_S", 0.3)
    receiver.behaviours["/hook"] = getattr(receiver, fault)
    assert send(receiver.url("/hook")) == Outcome(why="no answer within 0.3 s")


def test_a_resolver_and_a_handshake_that_hang_are_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(attempts, "DEADLINE_S", 0.2)
    assert send("http://receiver.test/", Sender(trusted=PLAIN, resolver=never)) == Outcome(why="no answer within 0.2 s")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert send(url) == Outcome(why="no answer within 0.2 s")


def test_a_reset_and_a_refusal_are_told_without_the_address(receiver: Receiver) -> None:
    def resets(sock: object, _: object) -> None:
        sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # type: ignore[attr-defined] # SO_LINGER: close with a reset

    receiver.behaviours["/hook"] = resets
    assert send(receiver.url("/hook")).why in {"the connection broke: Connection reset by peer", "the connection broke"}
    receiver.close()
    assert send("http://127.0.0.1:1/") == Outcome(why="it cannot be connected to: Connection refused")


def test_tls_is_checked_for_the_name_though_the_address_is_connected_to(tls: Receiver) -> None:
    sender = Sender(True, trusting(), at("127.0.0.1"))
    assert send(tls.url(host="receiver.test"), sender) == Outcome(204)
    assert tls.requests[0].headers["host"] == f"receiver.test:{tls.port}"
    words = "TLS failed: its certificate is not valid:"
    assert send(tls.url(host="other.test"), sender) == Outcome(why=f"{words} Hostname mismatch")
    assert send(tls.url(), sender) == Outcome(why=f"{words} IP address mismatch")
    assert send(tls.url(host="receiver.test"), Sender(True, resolver=at("127.0.0.1"))).why in {
        f"{words} self-signed certificate",
        f"{words} self signed certificate",
    }
    assert len(tls.requests) == 1


def test_what_speaks_no_tls_is_told(receiver: Receiver, tls: Receiver) -> None:
    assert send(f"https://127.0.0.1:{receiver.port}/").why.startswith("TLS failed: ")
    assert send(f"http://127.0.0.1:{tls.port}/").why != ""
    assert receiver.requests == tls.requests == []


def test_the_system_s_authorities_are_believed_also_where_a_variable_names_them(
    tls: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    assert send(tls.url(host="receiver.test"), Sender(True, resolver=at("127.0.0.1"))) == Outcome(204)


@pytest.mark.parametrize(
    ("addresses", "kind"),
    [
        (["127.0.0.1"], "loopback"),
        (["::ffff:127.0.0.1"], "loopback"),
        (["169.254.169.254"], "link-local"),
        (["10.0.0.1", "fd00::1"], "private"),
        (["127.0.0.1", "100.64.0.1"], "loopback, shared (CGNAT)"),
        ([], "unknown"),
    ],
)
def test_a_name_that_leads_inside_is_not_connected_to(receiver: Receiver, addresses: list[str], kind: str) -> None:
    outcome = send(receiver.url(host="hook.test"), sender_to(*addresses))
    assert outcome == Outcome(why=f"its address is {kind}, which needs --allow-private")
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1"])
def test_no_spelling_of_this_machine_gets_through_the_system_s_resolver(receiver: Receiver, host: str) -> None:
    outcome = send(receiver.url(host=host), Sender(trusted=PLAIN))
    assert outcome.why == "its address is loopback, which needs --allow-private"
    assert receiver.connections == 0


def test_the_name_is_looked_up_once_so_that_a_second_answer_changes_nothing(receiver: Receiver) -> None:
    asked = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["192.0.2.1"] if len(asked) == 1 else ["127.0.0.1"]

    def public(text: str) -> str:
        return "" if text == "192.0.2.1" else "loopback"

    sender = Sender(trusted=PLAIN, resolver=rebinding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts.address, "kind", public)
        patch.setattr(attempts, "CONNECT_S", 0.2)
        outcome = send(receiver.url(host="hook.test"), sender)
        assert outcome.why.startswith(("no connection", "it cannot be connected to"))
        assert asked == ["hook.test"]
        assert send(receiver.url(host="hook.test"), sender).why.startswith("its address is loopback")
    assert receiver.connections == 0


def test_another_address_is_tried_where_one_cannot_be_connected_to(receiver: Receiver) -> None:
    assert send(receiver.url(host="hook.test"), sender_to("127.0.0.2", "127.0.0.1", private=True)) == Outcome(204)
    assert receiver.connections == 1


def test_a_name_that_is_not_there_is_told() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    outcome = send("https://hook.test/", Sender(trusted=PLAIN, resolver=nowhere))
    assert outcome == Outcome(why="its name cannot be resolved: Name or service not known")


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(receiver.url()) == Outcome(204)


def test_user_and_password_are_sent_and_nowhere_told(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"http://us%20er:hunter2@127.0.0.1:{receiver.port}/T0KEN"
    receiver.behaviours["/T0KEN"] = answers(500)
    outcome = send(url)
    assert receiver.requests[0].headers["authorization"] == "Basic dXMgZXI6aHVudGVyMg=="
    (target,) = targets([url], allow_private=True)
    shown = f"{outcome!r} {target!r} {target} {caplog.text}"
    assert not any(secret in shown for secret in ("hunter2", "T0KEN", "us er", "dXMg"))


def test_a_defect_ends_no_monitor(receiver: Receiver) -> None:
    async def broken(host: str, port: int) -> Sequence[str]:
        raise RuntimeError("x")

    assert (
        send(receiver.url(), Sender(trusted=PLAIN, resolver=broken)).why
        == "the attempt failed by a defect: RuntimeError"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("0", 0.0), ("120", 120.0), (" 7 ", 7.0), ("9" * 400, 86400.0), ("-1", None), ("1.5", None), ("", None)),
        *(("٣", None), ("soon", None), (formatdate(1_000_060, usegmt=True), 60.0)),
        *((formatdate(999_000, usegmt=True), 0.0), (formatdate(9_000_000, usegmt=True), 86400.0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400.0),
    ],
)
def test_a_wish_for_later_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after(text, 1_000_000) == seconds
