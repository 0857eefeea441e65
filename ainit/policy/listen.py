"""The addresses that sockets and probes are given: text in, its parts out.

    unix:/run/x  unix-datagram:/run/x  unix-seqpacket:/run/x  tcp:127.0.0.1:80  udp:[::]:53

PID 1 imports this. Leaves out whether a host is a numeric address, which ``values`` checks once.

>>> address("tcp:[::1]:80")
('inet6', 'stream', '::1', 80)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

UNIX, INET, INET6 = "unix", "inet", "inet6"
STREAM, DATAGRAM, SEQPACKET = "stream", "datagram", "seqpacket"

KINDS = {
    "unix": (UNIX, STREAM),
    "unix-datagram": (UNIX, DATAGRAM),
    "unix-seqpacket": (UNIX, SEQPACKET),
    "tcp": (INET, STREAM),
    "udp": (INET, DATAGRAM),
}
UNIX_PATH_MAX = 107  # sun_path, less the terminating NUL
PORT_MAX = 65535


def address(text: str, kinds: Sequence[str] = tuple(KINDS)) -> tuple[str, str, str, int]:
    """Family, type of socket, path or host, and port (0 for a path).

    Raises ValueError for what is no address, worded to follow the name of its key.
    """
    kind, _, rest = text.partition(":")
    if kind not in kinds:
        raise ValueError(f"has {kind!r}: an address begins with one of {', '.join(kinds)}")
    family, style = KINDS[kind]
    if family == UNIX:
        if not rest.startswith("/") or len(rest.encode()) > UNIX_PATH_MAX:
            raise ValueError(f"has an absolute path of at most {UNIX_PATH_MAX} bytes after {kind}:")
        return family, style, rest, 0
    host, _, port = rest.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= PORT_MAX):
        raise ValueError(f"has a port from 1 to {PORT_MAX} at its end")
    if host.startswith("[") and host.endswith("]"):
        return INET6, style, host[1:-1], int(port)
    return family, style, host, int(port)
