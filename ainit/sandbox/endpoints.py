"""The hosts that an agent may reach, as sockets that listen in its own network.

The network of an agent has a loopback and no way out. Each host and port of its manifest is a
socket there, bound to exactly that address; it is handed over to the service ``egress``, which
takes what connects to it, and connects to the host from the machine's network. A name has an
address of the loopback's own, by its position, which /etc/hosts tells. All listen before the agent
runs: it waits for the service like for any host.

>>> [(each.text, each.address) for each in listed([("192.0.2.7", 443), ("notes.example.org", 80)])]
[('192.0.2.7:443', '192.0.2.7'), ('notes.example.org:80', '127.64.0.1')]
"""

from __future__ import annotations

import os
from _socket import SOCK_CLOEXEC, SOCK_RAW, SOCK_STREAM

from ..linux import libc, native, rtnetlink
from ..linux.namespaces import AT_FDCWD
from ..wire.codec import dumps
from .handover import hand_over
from .operation import NET, VIEW, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .facts import Facts
    from .operation import Call

EGRESS = "egress"  # the service, and its channel in ``Facts``
_BACKLOG = 128
_OWN = "127.0.0.1\tlocalhost\n::1\tlocalhost\n"
_HOSTS = "run/hosts"  # in the new root, where the agent's /run is still writable


class Endpoint:
    """A host as the manifest has it, a port, and the ``address`` that it has for the agent."""

    __slots__ = ("address", "host", "port", "text")

    def __init__(self, host: str, port: int, address: str) -> None:
        self.host = host
        self.port = port
        self.address = address
        self.text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def is_name(self) -> bool:
        """Whether the host is a name."""
        return self.address != self.host


def listed(endpoints: Iterable[tuple[str, int]]) -> list[Endpoint]:
    """Those of a profile. A name has one address, whatever its ports."""
    names: dict[str, str] = {}
    return [Endpoint(host, port, _address(host, names)) for host, port in endpoints]


def up(endpoints: Sequence[Endpoint], facts: Facts) -> tuple[Call, ...]:
    """The loopback of a network that was just made, with the addresses of the hosts."""
    numeric = dict.fromkeys(each.address for each in endpoints if not each.is_name)
    requests = rtnetlink.up() + b"".join(map(rtnetlink.address, numeric))
    return (
        (native.SOCKET, rtnetlink.NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0),
        (native.WRITE, None, requests, len(requests)),
        (native.CLOSE, facts.free),
    )


def operations(endpoints: Sequence[Endpoint], facts: Facts) -> Iterable[Operation]:
    """Open the sockets, hand them over, and close them here. Raises ValueError for too many."""
    numbers = range(facts.free, facts.free + len(endpoints))
    for number, each in zip(numbers, endpoints, strict=True):
        place = rtnetlink.socket_address(each.address, each.port)
        kind = SOCK_STREAM | SOCK_CLOEXEC
        yield Operation(
            NET,
            f"{each.text} is there",
            (
                (native.SOCKET, rtnetlink.family(each.address), kind, 0),
                (native.BIND, number, place, len(place)),
                (native.LISTEN, number, _BACKLOG),
            ),
        )
    record = {"agent": facts.name, "endpoints": [each.text for each in endpoints]}
    words = "what it may connect to is handed over to egress"
    yield hand_over(NET, words, facts.channel(EGRESS), numbers, dumps(record).encode())
    calls = ((native.CLOSE_RANGE, numbers[0], numbers[-1], 0),)
    yield Operation(NET, "what was handed over is the service's alone", calls)


def names(endpoints: Sequence[Endpoint], facts: Facts) -> Iterable[Operation]:
    """Put an /etc/hosts with the names over the machine's, in the view that is being made."""
    found = dict.fromkeys((each.address, each.host) for each in endpoints if each.is_name)
    if found:
        content = (_OWN + "".join(f"{place}\t{name}\n" for place, name in found)).encode()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        yield Operation(
            VIEW,
            "/etc/hosts has the names that it may connect to",
            (
                (native.OPENAT, AT_FDCWD, _HOSTS, flags, 0o444),
                (native.WRITE, None, content, len(content)),
                (native.CLOSE, facts.free),
                (native.MOUNT, _HOSTS, "etc/hosts", 0, libc.MS_BIND, 0),
            ),
        )


def _address(host: str, names: dict[str, str]) -> str:
    """A numeric host's is its own; names are numbered, from 127.64.0.1 on."""
    if ":" in host or host.rpartition(".")[2].isdigit():
        return host
    return names.setdefault(host, f"127.64.{len(names) + 1 >> 8}.{len(names) + 1 & 255}")
