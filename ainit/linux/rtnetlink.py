"""Requests of rtnetlink(7) about a new network's loopback, and addresses as bind(2) takes them.

Several requests may be written to a NETLINK_ROUTE socket at once. The kernel's answers are left
out: whether an address is there shows when a socket is bound to it.

>>> len(up()), len(address("192.0.2.7"))
(32, 40)
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_pton
from struct import pack

NETLINK = 16  # AF_NETLINK
_LOOPBACK = 1  # its index in every network
_NEW_LINK, _NEW_ADDRESS = 16, 20
_REQUEST = 0x1
_CREATE = 0x400
_UP = 1  # IFF_UP
_NO_DETECTION = 2  # IFA_F_NODAD
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER_BYTES = 16


def up() -> bytes:
    """Set the loopback up: the kernel gives it 127.0.0.1/8 and ::1."""
    return _message(_NEW_LINK, _REQUEST, pack("=BxHiII", 0, 0, _LOOPBACK, _UP, _UP))


def address(host: str) -> bytes:
    """Give the loopback an address, and nothing beside it."""
    family, number = _number(host)
    length = 4 + len(number)
    attributes = b"".join(pack("=HH", length, kind) + number for kind in (_IFA_LOCAL, _IFA_ADDRESS))
    head = pack("=BBBBI", family, 8 * len(number), _NO_DETECTION, 0, _LOOPBACK)
    return _message(_NEW_ADDRESS, _REQUEST | _CREATE, head + attributes)


def family(host: str) -> int:
    """AF_INET or AF_INET6."""
    return AF_INET6 if ":" in host else AF_INET


def socket_address(host: str, port: int) -> bytes:
    """struct sockaddr_in or sockaddr_in6. Raises OSError for what is no numeric address."""
    kind, number = _number(host)
    head = pack("=H", kind) + port.to_bytes(2, "big")
    return head + (bytes(4) + number + bytes(4) if kind == AF_INET6 else number + bytes(8))


def _number(host: str) -> tuple[int, bytes]:
    kind = family(host)
    return kind, inet_pton(kind, host)


def _message(kind: int, flags: int, content: bytes) -> bytes:
    """With its header; its length is a multiple of four, as the kernel expects of what follows."""
    return pack("=IHHII", _HEADER_BYTES + len(content), kind, flags, 0, 0) + content
