"""Which addresses no agent is let through to, whatever leads there: a manifest, or a name. PURE.

A name is an address that somebody else chooses, and may choose anew at any time. So one that leads
to this machine, or to what gives out a cloud machine's secrets, is refused, and so is every address
that has such a one inside it and may be carried to it on the way. Leaves out which addresses are
the machine's own: that is known where the connection is made.

>>> kind("192.0.2.7"), kind("127.0.0.1"), kind("64:ff9b::a9fe:a9fe")
('', 'loopback', 'link-local')
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

LOOPBACK = "loopback"
LINK_LOCAL = "link-local"
METADATA = "metadata"
MANY = "many"  # none, or more than one machine
DISGUISED = "disguised"  # an IPv4 address in the form of an IPv6 one

WORDS = {
    LOOPBACK: "is a loopback address",
    LINK_LOCAL: "is a link-local address",
    METADATA: "is where a cloud gives out its machines' secrets",
    MANY: "is not one machine",
    DISGUISED: "is an IPv4 address in disguise",
}

# Metadata services that are not link-local: of Alibaba, Azure (host agent), AWS, Google, Oracle.
_METADATA = frozenset(
    map(
        ip_address,
        (
            "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
        ),
    )
)  # fmt: skip
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, 2.5.5.1: deprecated
_TRANSLATED = IPv6Network("64:ff9b::/96")  # RFC 6052: a gateway makes IPv4 of it


def kind(text: str) -> str:
    """What speaks against an address: a key of WORDS; empty: nothing. Raises ValueError."""
    address = ip_address(text)
    for each in (address, *_inside(address)):
        if found := _kind(each):
            return found
    return ""


def _kind(address: IPv4Address | IPv6Address) -> str:
    if address.is_loopback:
        return LOOPBACK
    if address.is_link_local:
        return LINK_LOCAL
    if address in _METADATA:
        return METADATA
    if address.is_unspecified or address.is_multicast or int(address) == 0xFFFFFFFF:
        return MANY
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in _COMPATIBLE):
        return DISGUISED
    return ""


def _inside(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address is carried to by those who translate or tunnel it."""
    if isinstance(address, IPv6Address):
        if address in _TRANSLATED:
            yield IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour:
            yield address.sixtofour
        yield from address.teredo or ()
