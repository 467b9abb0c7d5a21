"""Which addresses on the network a webhook may be at: public ones, unless the user allows private ones.

A name that leads to the inside is how somebody who may choose a URL would reach what only this machine can reach. What
an IPv6 address carries of IPv4 (mapped, NAT64, 6to4, Teredo) is looked at, too: it is where a connection ends.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

_NAMED: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10", "64:ff9b:1::/48")),
    ("shared (CGNAT)", ("100.64.0.0/10",)),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("a cloud's own", ("168.63.129.16/32",)),  # Azure's host, the one of its kind at a public address
    ("reserved", ("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24")),
    ("reserved", ("203.0.113.0/24", "240.0.0.0/4", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16")),
)
_NETWORKS: Final[tuple[tuple[str, IPv4Network | IPv6Network], ...]] = tuple(
    (name, ip_network(network)) for name, networks in _NAMED for network in networks
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_V4_MASK: Final = 0xFFFF_FFFF


def kind(text: str) -> str:
    """What kind of inside an address is of, `loopback` or `private` for example; "" for a public one.

    Raises ValueError for what is no address.
    """
    address = ip_address(text.partition("%")[0])
    kinds = [_kind(one) for one in (address, *_carried(address))]
    return next((found for found in kinds if found), "")


def _carried(address: Address) -> list[IPv4Address]:
    """The IPv4 addresses that a connection to an IPv6 address may end at."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        found.append(IPv4Address(int(address) & _V4_MASK))
    return [one for one in found if one is not None]


def _kind(address: Address) -> str:
    for name, network in _NETWORKS:
        if address.version == network.version and address in network:
            return name
    if isinstance(address, IPv6Address) and (address.ipv4_mapped is not None or address in _NAT64):
        return ""  # judged by what it carries
    return "" if address.is_global or (isinstance(address, IPv6Address) and address.sixtofour) else "reserved"
