"""What the values of the network configuration may be. PURE.

A check takes a TOML value and returns the plan's, or raises ValueError with what it should have
been, worded to follow the key's name.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

NAME_MAX = 15  # IFNAMSIZ of the kernel, less the terminating NUL
LIST_MAX = 64


def text(value: object) -> str:
    """A string that can be printed."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("is a string")
    return value


def name(value: object) -> str:
    """The name of an interface."""
    found = text(value)
    if len(found) > NAME_MAX or found in (".", "..") or set(found) & set("/: *?["):
        raise ValueError(f"is an interface name of at most {NAME_MAX} characters")
    return found


def flag(value: object) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise ValueError("is true or false")
    return value


def whole(low: int, high: int) -> Callable[[object], int]:
    """A whole number between two bounds."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"is a whole number from {low} to {high}")
        return value

    return check


def each(check: Callable[[object], str]) -> Callable[[object], tuple[str, ...]]:
    """A list of distinct values, each checked."""

    def check_all(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > LIST_MAX:
            raise ValueError("is a list")
        items = tuple(check(item) for item in value)
        if len(set(items)) != len(items):
            raise ValueError("names something twice")
        return items

    return check_all


def address(value: object) -> str:
    """An IPv4 or IPv6 address."""
    try:
        return str(ip_address(text(value)))
    except ValueError as error:
        raise ValueError("holds IP addresses") from error


def cidr(value: object) -> str:
    """The address of one machine with its prefix length."""
    found = text(value)
    try:
        interface = ip_interface(found)
    except ValueError as error:
        raise ValueError(f"holds addresses like 10.0.0.2/24: {error}") from error
    if "/" not in found or interface.ip.is_multicast or interface.ip.is_unspecified:
        raise ValueError(f"holds addresses of one machine, like 10.0.0.2/24, not {found}")
    return str(interface)


def gateway(kind: type[IPv4Address | IPv6Address]) -> Callable[[object], str]:
    """An address of one family."""

    def check(value: object) -> str:
        try:
            return str(kind(text(value)))
        except ValueError as error:
            raise ValueError(f"is an address: {error}") from error

    return check


def domain(value: object) -> str:
    """A domain name."""
    found = text(value)
    labels = found.removesuffix(".").replace("-", "x").replace("_", "x").split(".")
    if len(found) > 253 or not all(
        len(label) < 64 and label.isalnum() and label.isascii() for label in labels
    ):
        raise ValueError("holds domain names")
    return found


def server(value: object) -> str:
    """An address or a domain name."""
    try:
        return address(value)
    except ValueError:
        return domain(value)
