"""Which addresses are inside: by kind, in every notation, and where an IPv6 address carries one of IPv4."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, strategies as st

from maestro.monitor.webhook.address import kind

INSIDE = {
    "loopback": ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"],
    "private": [
        *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1"),
        *("::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:a00:1::1", "::192.168.1.1"),
    ],
    "link-local": ["169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"],
    "shared (CGNAT)": ["100.64.0.1", "100.100.100.200", "::ffff:100.64.0.1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1", "::ffff:224.0.0.1"],
    "reserved": ["192.0.2.1", "198.18.0.1", "203.0.113.9", "240.0.0.1", "255.255.255.255", "2001:db8::1", "100::1"],
    "a cloud's own": ["168.63.129.16"],
}
PUBLIC = ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1"]


@pytest.mark.parametrize(("name", "address"), [(name, each) for name, all_of in INSIDE.items() for each in all_of])
def test_what_is_inside_is_named(name: str, address: str) -> None:
    assert kind(address) == name


@pytest.mark.parametrize("address", [*PUBLIC, "64:ff9b::101:101", "2002:101:101::1"])
def test_what_is_public_is_not(address: str) -> None:
    assert kind(address) == ""


@pytest.mark.parametrize("address", ["", "localhost", "127.1", "0x7f000001", "1.2.3.4.5"])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(ValueError, match="does not appear"):
        kind(address)


@given(st.integers(0, 2**32 - 1))
def test_an_address_of_ipv4_is_of_its_kind_however_ipv6_carries_it(number: int) -> None:
    plain = kind(str(ipaddress.IPv4Address(number)))
    for prefix in (0xFFFF << 32, 0x64FF9B << 96):
        assert kind(str(ipaddress.IPv6Address(prefix + number))) == plain
    assert bool(kind(str(ipaddress.IPv6Address((0x2002 << 112) + (number << 80) + 1)))) == bool(plain)


@given(st.ip_addresses())
def test_nothing_that_python_knows_as_not_global_counts_as_public(address: ipaddress.IPv4Address) -> None:
    if not address.is_global and not getattr(address, "sixtofour", None) and not getattr(address, "ipv4_mapped", None):
        assert kind(str(address)) or str(address).startswith("64:ff9b::")
