"""The URL of a webhook: what is refused before anything is begun, in one line that shows nothing of it."""

from __future__ import annotations

import pytest

from maestro.model.errors import Invalid
from maestro.monitor.webhook.target import targets

BAD = {
    "": "does not begin with https://",
    "hunter2": "does not begin with https://",
    "ftp://hunter2.example/": "does not begin with https://",
    "file:///hunter2": "does not begin with https://",
    "HTTPS:hunter2": "names no host",
    "https://": "names no host",
    "https:///hunter2": "names no host",
    "https://./hunter2": "names no host",
    "https://..": "names no host",
    "https://hunter2.example:0/": "impossible port 0",
    "https://hunter2.example:99999/": "impossible port 99999",
    "https://a:hunter2": "is no URL",
    "https://[::1/hunter2": "is no URL",
    "https://hunter2 .example/": "a space or a control character",
    "https://example.com/hunter2\nX: y": "a space or a control character",
    "https://example.com/" + "hunter2" * 400: "more than 2048 characters",
    "https://\ud800hunter2.example/": "is no URL",
    "https://exam%20ple.com/hunter2": "names no host",
    "https://169.254.169.254/hunter2": "its address is link-local",
    "http://[::ffff:127.0.0.1]/hunter2": "its address is loopback",
    "http://[fe80::1%25eth0]/hunter2": "its address is link-local",
    "http://user:hunter2@10.1.2.3/": "its address is private",
}


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_webhook_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        targets(["https://example.com/a", url])
    line = refused.value.line()
    assert line.startswith("--alert-webhook: ") and BAD[url] in line and "\n" not in line
    assert "hunter2" not in line


def test_private_addresses_are_taken_where_they_are_allowed() -> None:
    found = targets(["http://127.0.0.1:8000/a", "http://[::1]/", "http://10.1.2.3/"], allow_private=True)
    assert [(target.host, target.port) for target in found] == [("127.0.0.1", 8000), ("::1", 80), ("10.1.2.3", 80)]


def test_an_endpoint_is_known_by_a_digest_of_its_url_and_by_its_host() -> None:
    one, other = targets(["https://Example.com/T0KEN#x", "https://example.com/other", "HTTPS://example.com:443/T0KEN"])
    assert one.id != other.id and len(one.id) == 16 and set(one.id) <= set("0123456789abcdef")
    assert repr(one) == f"Target({one.id}, example.com)"
    (same,) = targets(["https://example.com/T0KEN"])
    assert same.id == one.id
    (named,) = targets(["https://münchen.example/"])
    assert named.host == "xn--mnchen-3ya.example"


def test_user_and_password_count_for_the_id_and_are_not_in_the_url() -> None:
    with_one, without = targets(["https://user:hunter2@example.com/", "https://example.com/"])
    assert with_one.id != without.id
    assert str(with_one.url) == "https://example.com/" and "hunter2" not in repr(with_one)
