"""What the values of a network configuration may be."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from ainit.policy import addresses

Check = Callable[[object], object]

NAMES = addresses.each(addresses.name)
LONGEST_DOMAIN = ".".join(("x" * 63, "y" * 63, "z" * 63, "w" * 61))


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (addresses.text, "a b", "a b"),
        (addresses.name, "x" * 15, "x" * 15),
        (addresses.name, "eth0.5", "eth0.5"),
        (addresses.name, "...", "..."),
        (addresses.flag, False, False),
        (addresses.whole(1, 3), 1, 1),
        (addresses.whole(1, 3), 3, 3),
        (NAMES, [], ()),
        (NAMES, ["b", "a"], ("b", "a")),
        (NAMES, [f"eth{number}" for number in range(64)], tuple(f"eth{n}" for n in range(64))),
        (addresses.address, "FD00:0::1", "fd00::1"),
        (addresses.address, "10.0.0.2", "10.0.0.2"),
        (addresses.cidr, "10.0.0.2/24", "10.0.0.2/24"),
        (addresses.cidr, "FD00::2/64", "fd00::2/64"),
        (addresses.gateway(IPv4Address), "10.0.0.1", "10.0.0.1"),
        (addresses.gateway(IPv6Address), "FE80::1", "fe80::1"),
        (addresses.domain, "a", "a"),
        (addresses.domain, "time.example.org.", "time.example.org."),
        (addresses.domain, "_ntp.a-b", "_ntp.a-b"),
        (addresses.domain, "x-_" + 60 * "x", "x-_" + 60 * "x"),
        (addresses.domain, LONGEST_DOMAIN, LONGEST_DOMAIN),
        (addresses.server, "FD00::1", "fd00::1"),
        (addresses.server, "time.example.org", "time.example.org"),
    ],
)
def test_what_passes(check: Check, value: object, result: object) -> None:
    found = check(value)
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        *((addresses.text, value, "is a string") for value in (5, "", "a\n")),
        *(
            (addresses.name, value, "is an interface name of at most 15 characters")
            for value in ("x" * 16, ".", "..", *(f"a{one}b" for one in "/: *?["))
        ),
        (addresses.flag, 1, "is true or false"),
        *(
            (addresses.whole(1, 3), value, "is a whole number from 1 to 3")
            for value in (0, 4, True, 1.5, "2")
        ),
        (NAMES, "a", "is a list"),
        (NAMES, [f"eth{number}" for number in range(65)], "is a list"),
        (NAMES, ["a", "b", "a"], "names something twice"),
        (NAMES, ["a", ""], "is a string"),
        *((addresses.address, value, "holds IP addresses") for value in ("x", "10.0.0.2/24", 5)),
        (addresses.cidr, "x", "holds addresses like 10.0.0.2/24: "),
        *(
            (addresses.cidr, value, "holds addresses of one machine, like 10.0.0.2/24, not ")
            for value in ("10.0.0.2", "224.0.0.1/4", "ff02::1/64", "0.0.0.0/8", "::/64")
        ),
        (addresses.gateway(IPv4Address), "fd00::1", "is an address: "),
        (addresses.gateway(IPv6Address), "10.0.0.1", "is an address: "),
        *(
            (check, value, "holds domain names")
            for check in (addresses.domain, addresses.server)
            for value in (
                ".", "a..b", ".a", "a b", "a/b", "b\u00e4r.de", "x" * 64, LONGEST_DOMAIN + "w",
            )
        ),
    ],
)  # fmt: skip
def test_what_does_not(check: Check, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|holds|names) ") as caught:
        check(value)
    assert str(caught.value).startswith(message)
