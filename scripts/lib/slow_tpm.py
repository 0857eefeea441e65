"""A TPM that takes longer: a proxy before swtpm that holds up every command.

QEMU hands swtpm a socket for the commands over the control socket (CMD_SET_DATAFD). The proxy
stands in both ways: it hands over a socket of its own, and carries the commands.

    proxy = SlowTpm(for_qemu, of_swtpm, seconds=0.02); proxy.start(); …; proxy.stop()
"""

from __future__ import annotations

import array
import os
import select
import socket
import threading
import time
from pathlib import Path

_CHUNK = 65536


class SlowTpm:
    """One machine's connection to its TPM. ``commands`` counts what went through."""

    def __init__(self, front: Path, back: Path, seconds: float) -> None:
        self._front, self._back, self._seconds = front, back, seconds
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._stop = threading.Event()
        self.commands = 0

    def start(self) -> None:
        """Listen, and carry in threads that end with the machine."""
        self._front.unlink(missing_ok=True)
        self._listener.bind(str(self._front))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        """End it."""
        self._listener.close()
        self._front.unlink(missing_ok=True)

    def _serve(self) -> None:
        try:
            machine, _ = self._listener.accept()
        except OSError:
            return
        with machine, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tpm:
            tpm.connect(str(self._back))
            while True:
                ready, _, _ = select.select([machine, tpm], [], [])
                if tpm in ready:
                    if not (answer := tpm.recv(_CHUNK)):
                        return
                    machine.sendall(answer)
                if machine in ready and not self._pass_on(machine, tpm):
                    return

    def _pass_on(self, machine: socket.socket, tpm: socket.socket) -> bool:
        """One control message; a socket for commands is exchanged for one of ours."""
        data, handed, _, _ = machine.recvmsg(_CHUNK, socket.CMSG_SPACE(4))
        if not data:
            return False
        descriptors = array.array("i")
        for _level, _kind, given in handed:
            descriptors.frombytes(given[:4])
        if not descriptors:
            tpm.sendall(data)
            return True
        ours, theirs = socket.socketpair()
        socket.send_fds(tpm, [data], [theirs.fileno()])
        theirs.close()
        commands = socket.socket(fileno=os.dup(descriptors[0]))
        os.close(descriptors[0])
        threading.Thread(target=self._carry, args=(commands, ours), daemon=True).start()
        return True

    def _carry(self, machine: socket.socket, tpm: socket.socket) -> None:
        with machine, tpm:
            while True:
                ready, _, _ = select.select([machine, tpm], [], [])
                for source, target in ((machine, tpm), (tpm, machine)):
                    if source not in ready:
                        continue
                    try:
                        data = source.recv(_CHUNK)
                        if source is machine and data:
                            self.commands += 1
                            time.sleep(self._seconds)
                        target.sendall(data)
                    except OSError:
                        return
                    if not data:
                        return
