"""Two networks at the ends of a cable: a *machine's*, and one outside with servers in it.

with Cable() as cable:
    cable.listen(SERVER, 4443)
    subprocess.run(["nsenter", f"--net={cable.machine}", ...])
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.wait import wait_for

MACHINE, MACHINE6 = "192.0.2.1", "2001:db8::1"
SERVER, SERVER6, OTHER = "192.0.2.7", "2001:db8::7", "192.0.2.8"
METADATA = "169.254.169.254"

_CABLE = """
ip link add cable type veth peer name eth0 netns "$1"
ip link set cable up
ip address add 192.0.2.7/24 dev cable
ip address add 192.0.2.8/24 dev cable
ip address add 2001:db8::7/64 dev cable nodad
ip address add 169.254.169.254/32 dev cable
nsenter --net=/proc/$1/ns/net sh -euc '
ip link set lo up
ip link set eth0 up
ip address add 192.0.2.1/24 dev eth0
ip address add 2001:db8::1/64 dev eth0 nodad
ip route add 169.254.169.254/32 dev eth0
'
"""
_HOLD = ["unshare", "--net", "sleep", "infinity"]
_NEW_NET = 0x40000000


class Cable:
    """``machine`` is the path of the machine's network. A server says hello to whoever connects,
    and then what that one said, once it has said all.
    """

    def __init__(self) -> None:
        self._holders = [subprocess.Popen(_HOLD) for _ in range(2)]
        self._listeners: list[socket.socket] = []
        self.machine, self._outside = (f"/proc/{each.pid}/ns/net" for each in self._holders)

    def __enter__(self) -> Self:
        own = os.readlink("/proc/self/ns/net")
        for path in (self.machine, self._outside):
            wait_for(lambda path=path: os.readlink(path) != own, "a network of its own")  # type: ignore[misc]
        enter = ["nsenter", f"--net={self._outside}", "sh", "-euc", _CABLE, "sh"]
        subprocess.run([*enter, str(self._holders[0].pid)], check=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for holder in self._holders:
            holder.kill()
            holder.wait()

    def listen(self, host: str, port: int) -> None:
        """A server outside. A thread goes there for it, and ends."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made: list[socket.socket] = []

        def enter() -> None:
            with open(self._outside, "rb") as network:
                assert ctypes.CDLL(None).setns(network.fileno(), _NEW_NET) == 0
            made.append(socket.create_server((host, port), family=family))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        self._listeners += made
        threading.Thread(target=_serve, args=made, daemon=True).start()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            channel, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=[channel], daemon=True).start()


def _answer(channel: socket.socket) -> None:
    with channel, suppress(OSError):
        channel.sendall(b"hello ")
        said = b""
        while part := channel.recv(1 << 16):
            said += part
        channel.sendall(said)
