"""A GPU of the host, lent to a machine: bound to vfio-pci, and given back to the driver it had.

What is changed is written down before it is changed, so a run that was killed is undone by the next
one. Nothing is forced: a GPU in use is not taken, see `lib.vfio`.

    gpu = Passthrough("0000:41:00.0", BUILD / "passthrough")
    gpu.take()
    …                           # QEMU with -device vfio-pci,host=0000:41:00.0
    gpu.give_back()
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

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

    def take(self) -> None:
        """Bind the GPU to vfio-pci. Raises PassthroughError with every problem of the host; then
        nothing is changed."""
        self.give_back()
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
            self.give_back()
            raise

    def give_back(self) -> None:
        """Undo what was written down, in this run or in one that was killed; nothing otherwise.

        Raises PassthroughError when a device did not get its driver back; the record then stays.
        """
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
