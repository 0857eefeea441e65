"""What is refused wherever it is, and what is nobody's business."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import destinations
from ainit.policy.destinations import DISGUISED, LINK_LOCAL, LOOPBACK, MANY, METADATA, kind


@pytest.mark.parametrize(
    "address",
    ["192.0.2.7", "10.0.0.1", "8.8.8.8", "2001:db8::7", "fd12::1", "64:ff9b::c000:207"],
)
def test_other_machines(address: str) -> None:
    assert kind(address) == ""


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("127.0.0.1", LOOPBACK),
        ("127.64.0.1", LOOPBACK),
        ("::1", LOOPBACK),
        ("169.254.169.254", LINK_LOCAL),
        ("fe80::1", LINK_LOCAL),
        ("100.100.100.200", METADATA),
        ("168.63.129.16", METADATA),
        ("fd00:ec2::254", METADATA),
        ("0.0.0.0", MANY),
        ("::", MANY),
        ("224.0.0.1", MANY),
        ("255.255.255.255", MANY),
        ("ff02::1", MANY),
        ("::ffff:192.0.2.7", DISGUISED),
        ("::192.0.2.7", DISGUISED),
        ("64:ff9b::7f00:1", LOOPBACK),
        ("64:ff9b::a9fe:a9fe", LINK_LOCAL),
        ("2002:7f00:1::", LOOPBACK),
        ("2002:a9fe:a9fe::1", LINK_LOCAL),
        ("2001:0:7f00:1::", LOOPBACK),  # Teredo: its server, and its client below, inverted
        ("2001:0:c000:207:0:0:5601:5601", LINK_LOCAL),
    ],
)
def test_what_is_refused(address: str, found: str) -> None:
    assert kind(address) == found
    assert destinations.WORDS[found]


@given(st.integers(0, 0xFFFFFFFF))
def test_a_form_of_an_address_is_refused_when_it_is(number: int) -> None:
    plain = kind(str(IPv4Address(number)))
    assert kind(str(IPv6Address(0xFFFF << 32 | number)))
    for prefix in (0x64FF9B << 96, 0x2002 << 112):
        form = IPv6Address(prefix | (number if prefix >> 112 == 0x64 else number << 80))
        assert bool(kind(str(form))) == bool(plain)


def test_what_is_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        kind("notes.example.org")
