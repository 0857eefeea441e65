"""What a sandbox hands over to a service between clone and exec, at the service's end.

Connections come from PID 1, messages from the process that is about to be an agent; the kernel says
of both who they are. Leaves out the agent's end: see ``sandbox.handover``.

>>> message = receive(connection)                                    # doctest: +SKIP
>>> message.record, message.descriptors, message.process             # doctest: +SKIP
(b'{"agent": "notes"}', [7, 8], 9)
"""

from __future__ import annotations

import array
import os
import socket
import struct
from dataclasses import dataclass, field

from ..constants import HANDED_BYTES, HANDED_DESCRIPTORS
from ..errors import AinosError

_SCM_PIDFD = 4  # <linux/socket.h>, since Linux 6.5: a sandbox needs 6.12
_SO_PASSPIDFD = 76  # <asm-generic/socket.h>
_ROOM = socket.CMSG_SPACE(4 * HANDED_DESCRIPTORS) + socket.CMSG_SPACE(4)


@dataclass(slots=True)
class HandedOver:
    """``process`` is a pidfd of whoever sent it. All descriptors are the receiver's to close."""

    record: bytes
    process: int
    descriptors: list[int] = field(default_factory=list)

    def close(self) -> None:
        """Close everything."""
        for descriptor in (self.process, *self.descriptors):
            if descriptor >= 0:
                os.close(descriptor)


def is_of_superuser(connection: socket.socket) -> bool:
    """Whether root made a connection. Raises OSError."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("=iII", found)[1]) == 0


def receive(connection: socket.socket) -> HandedOver | None:
    """The message of a connection; None when it ended without one.

    Raises OSError, BlockingIOError when there is nothing yet, and AinosError for what is no whole
    message or whose sender is gone already; then nothing is left open.
    """
    connection.setsockopt(socket.SOL_SOCKET, _SO_PASSPIDFD, 1)
    record, ancillary, flags, _ = connection.recvmsg(HANDED_BYTES, _ROOM, socket.MSG_CMSG_CLOEXEC)
    found = HandedOver(record, -1)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.descriptors += array.array("i", content[: len(content) // 4 * 4])
        elif level == socket.SOL_SOCKET and kind == _SCM_PIDFD:
            (found.process,) = struct.unpack("=i", content)
    if record and found.process >= 0 and not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        return found
    found.close()
    if not record:
        return None
    raise AinosError("whoever handed descriptors over is gone, or sent more than one message holds")
