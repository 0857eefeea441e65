"""The contents of resolv.conf(5). PURE."""

from __future__ import annotations

from collections.abc import Iterable

SERVERS_MAX = 3  # MAXNS of the C library


def first(values: Iterable[str], count: int) -> tuple[str, ...]:
    """The first ``count`` different values."""
    return tuple(dict.fromkeys(value for value in values if value))[:count]


def resolv_conf(servers: Iterable[str], search: Iterable[str]) -> bytes:
    """The file for these name servers, best first, and search domains."""
    lines = [f"nameserver {server}" for server in first(servers, SERVERS_MAX)]
    if domains := first(search, 6):
        lines.append("search " + " ".join(domains))
    return ("\n".join(["# Written by the network service.", *lines]) + "\n").encode()
