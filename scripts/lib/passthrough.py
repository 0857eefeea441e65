"""A GPU of the host, lent to a machine: bound to vfio-pci, and given back to the driver it had.

What is changed is written down before it is changed, so a run that was killed is undone by the next
one. What another run holds is left to it: a lock on the device, which the kernel drops when that
run ends, tells one from the other. Nothing is forced: a GPU in use is not taken, see `lib.vfio`.

    gpu = Passthrough("0000:41:00.0", BUILD / "passthrough")
    gpu.take()
    …                           # QEMU with -device vfio-pci,host=0000:41:00.0
    gpu.give_back()
"""

from __future__ import annotations

import fcntl
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from lib.host import published
from lib.process import wait_until
from lib.vfio import VFIO, PassthroughError, PciHost, full_address, functions, missing

BIND_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Before:
    """What a device was before it was lent: its driver and its override, each empty for none."""

    address: str
    driver: str
    override: str


class Passthrough:
    """Everything that belongs to one GPU. ``records`` is the directory of what is lent."""

    def __init__(self, address: str, records: Path, host: PciHost | None = None) -> None:
        self.address = full_address(address)
        self._host = host or PciHost()
        self._record = records / f"{self.address}.json"
        self._lock: BinaryIO | None = None

    def take(self) -> None:
        """Bind the GPU to vfio-pci. Raises PassthroughError with every problem of the host; then
        nothing is changed."""
        if not self._claim():
            raise PassthroughError(f"{self.address} is lent to a machine that runs: end that first")
        try:
            self._undo()
            self._lend()
        except BaseException:
            self._let_go()
            raise

    def give_back(self) -> None:
        """Undo what was written down, in this run or in one that was killed; nothing otherwise.

        Raises PassthroughError when a device did not get its driver back; the record then stays.
        """
        if self._claim():
            try:
                self._undo()
            finally:
                self._let_go()

    def _claim(self) -> bool:
        """Keep other runs from the GPU until `_let_go`, or this one's end. False: one has it."""
        if self._lock is None:
            try:
                lock = (self._host.device(self.address) / "class").open("rb")
            except FileNotFoundError:
                return True  # there is no such device, so nobody has it
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                return False
            self._lock = lock
        return True

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _lend(self) -> None:
        if problems := missing(self.address, self._host):
            wanted = "\n  - ".join(problems)
            raise PassthroughError(
                f"the GPU cannot be passed through; this host lacks:\n  - {wanted}"
            )
        before = [
            Before(each, self._host.driver(each), self._host.override(each))
            for each in functions(self.address, self._host)
            if self._host.driver(each) != VFIO
        ]
        if before:
            with published(self._record) as file:
                file.write_text(json.dumps([asdict(each) for each in before], indent=1))
        try:
            for each in before:
                self._bind(each.address, each.driver, VFIO, override=VFIO)
        except PassthroughError:
            self._undo()
            raise

    def _undo(self) -> None:
        if not self._record.exists():
            return
        lost = []
        for each in (Before(**fields) for fields in json.loads(self._record.read_text())):
            if not self._host.device(each.address).exists():
                continue  # it was taken out of the host
            try:
                held = self._host.driver(each.address)
                self._bind(each.address, held, each.driver, override=each.override)
            except PassthroughError as error:
                before = each.driver or "no driver"
                lost.append(f"{each.address} is not back with {before}: {error}")
        if lost:
            raise PassthroughError("\n".join([*lost, f"{self._record} says what it was before"]))
        self._record.unlink()

    def _bind(self, address: str, held: str, wanted: str, *, override: str) -> None:
        """Move a device from one driver to another; either may be none."""
        host, device = self._host, self._host.device(address)
        host.write(device / "driver_override", f"{override}\n")
        if held == wanted:
            return
        if held:
            host.write(device / "driver" / "unbind", address)
        if wanted:
            host.write(host.sysfs / "bus/pci/drivers_probe", address)
        if not wait_until(lambda: host.driver(address) == wanted, BIND_DEADLINE_S):
            raise PassthroughError(
                f"{address} is held by {host.driver(address) or 'no driver'}, not by "
                f"{wanted or 'none'}, after {BIND_DEADLINE_S:.0f} s; the kernel's log may say why"
            )
