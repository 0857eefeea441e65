"""Descriptors that are made between clone and exec, handed over to a service from there.

What a sandbox makes in the child, such as a socket in the agent's network, may be for a service
outside it. PID 1 connects a socket to that service before it forks, and a step of the child sends
the descriptors through it, with a record of what they are. That is one message (SOCK_SEQPACKET), so
the service has all of it or nothing; it carries a pidfd of the child, which tells when the agent is
gone. A message that cannot be sent at once ends the start. Leaves out the service's end: see
``child.handed``.

>>> channel = connect("/run/ainit/egress")                           # doctest: +SKIP
>>> step = hand_over("net", "its sockets are handed over", 3, [4, 5], b'{"agent": "notes"}')
>>> step.describe()
'its sockets are handed over'
"""

from __future__ import annotations

import os
from _socket import (
    AF_UNIX,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
)
from struct import pack

from ..constants import HANDED_BYTES, HANDED_DESCRIPTORS
from ..linux import native
from .operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SO_PASSPIDFD = 76  # <asm-generic/socket.h>
_HEADER_BYTES = 16  # struct cmsghdr


def connect(path: str) -> int:
    """A socket that is connected to a service's, non-blocking and closed on exec.

    Raises OSError that names the path, at once: when nobody listens there, and when so many
    connections wait to be accepted already that it has no room for another.
    """
    channel = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC)
    try:
        channel.setsockopt(SOL_SOCKET, _SO_PASSPIDFD, 1)  # said by the sender, it always is there
        channel.connect(path)
    except OSError as error:
        channel.close()
        raise OSError(error.errno, os.strerror(error.errno or 0), path) from error
    return channel.detach()


def hand_over(
    mechanism: str, words: str, channel: int, descriptors: Sequence[int], record: bytes
) -> Operation:
    """A step that sends ``descriptors`` and what they are through ``channel``, all of them by their
    numbers in the child. It leaves them open there.

    Raises ValueError for more than one message holds.
    """
    if len(descriptors) > HANDED_DESCRIPTORS:
        raise ValueError(f"{len(descriptors)} descriptors are more than the {HANDED_DESCRIPTORS} "
                         "that can be handed over")  # fmt: skip
    if not 0 < len(record) <= HANDED_BYTES:
        raise ValueError(f"a record of {len(record)} bytes cannot be handed over")
    count = len(descriptors)
    size = _HEADER_BYTES + 4 * count
    rights = pack(f"=Qii{count}i", size, SOL_SOCKET, SCM_RIGHTS, *descriptors)
    control = (rights, size) if descriptors else (0, 0)
    # struct msghdr: no name, one iovec, the control message, no flags.
    message = (0, 0, (record, len(record)), 1, *control, 0)
    return Operation(
        mechanism, words, ((native.SENDMSG, channel, message, MSG_DONTWAIT | MSG_NOSIGNAL),)
    )
