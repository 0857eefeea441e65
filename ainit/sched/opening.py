"""The driver and the ledger of its instances: opened together, reconciled, let go of together.

NVML finds no GPU that came after it was opened, so it is closed and opened anew then. Who looks
after the GPUs (``care``) is told of each. Leaves out what is asked of them: see ``service``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from ..errors import ConfigError
from . import planning
from .errors import GpuError, GpuMissingError
from .journal import Assignment, Journal
from .place import Device
from .transaction import Ledger, boot_time

NOTES_KEPT = 32


class Gpus(planning.Gpus, Protocol):
    """A driver as the service sees it; ``nvml.Nvml`` is one."""

    version: str

    @property
    def is_emulated(self) -> bool: ...
    def enable_mig(self) -> list[str]: ...
    def bus_id(self, uuid: str) -> str: ...
    def close(self) -> None: ...


class Care(Protocol):
    """Who looks after the GPUs; ``care.Care`` does."""

    def opened(self, *, emulated: bool) -> list[str]: ...
    def closing(self) -> None: ...
    def failed(self, error: GpuError) -> None: ...
    def placeable(self, devices: Sequence[Device]) -> tuple[Device, ...]: ...
    def obstacle(self, uuid: str) -> str: ...
    def may_stay(self, uuid: str) -> bool: ...


class Uncared:
    """Nobody looks after the GPUs: every one is good."""

    def opened(self, *, emulated: bool) -> list[str]:
        """Nothing is watched."""
        return []

    def closing(self) -> None:
        """Nothing is watched."""

    def failed(self, error: GpuError) -> None:
        """Nothing is expected."""

    def placeable(self, devices: Sequence[Device]) -> tuple[Device, ...]:
        """All of them."""
        return tuple(devices)

    def obstacle(self, uuid: str) -> str:
        """None."""
        return ""

    def may_stay(self, uuid: str) -> bool:
        """Always."""
        return True


class Opening:
    """``open`` as often as you like: it is done once, until ``close``. ``notes`` says what was
    repaired or could not be done.
    """

    def __init__(
        self,
        open_driver: Callable[[], Gpus],
        journal: Journal,
        care: Care | None = None,
        now: Callable[[], float] = boot_time,
    ) -> None:
        self._open_driver = open_driver
        self._journal = journal
        self._now = now
        self._gpus: Gpus | None = None
        self._ledger: Ledger | None = None
        self._held = ""
        self.care: Care = care or Uncared()
        self.notes: deque[str] = deque(maxlen=NOTES_KEPT)

    def open(self) -> tuple[Gpus, Ledger]:
        """The driver and the ledger, reconciled. Raises GpuError while there is no GPU."""
        if self._held:
            raise GpuError(self._held)
        if self._gpus is None or self._ledger is None:
            try:
                gpus = self._open_driver()
            except GpuError as error:
                self.care.failed(error)
                raise
            try:
                ledger = Ledger(gpus, self._journal, self._now)
            except ConfigError as error:
                self.notes.append(f"{error}; set aside as {self._journal.set_aside()}")
                ledger = Ledger(gpus, self._journal, self._now)
            try:
                self._reconcile(gpus, ledger)
            except GpuError:
                gpus.close()
                raise
            self._gpus, self._ledger = gpus, ledger
        return self._gpus, self._ledger

    def _reconcile(self, gpus: Gpus, ledger: Ledger) -> None:
        self.notes.extend(gpus.enable_mig())
        self.notes.extend(ledger.recover())
        self.notes.extend(self.care.opened(emulated=gpus.is_emulated))

    def assignments(self) -> tuple[Assignment, ...]:
        """Who holds what; nothing is known while there is no driver."""
        return () if self._ledger is None else self._ledger.assignments

    @property
    def is_open(self) -> bool:
        """Whether the driver is open now."""
        return self._gpus is not None

    def obstacles(self) -> str:
        """Why nothing new may be placed on any GPU, in words; "" when it may on one."""
        devices = self._gpus.devices() if self._gpus else ()
        if not devices or self.care.placeable(devices):
            return ""
        return "; ".join(f"GPU {each.index} {self.care.obstacle(each.uuid)}" for each in devices)

    def hold(self, reason: str) -> None:
        """Let go of the driver, and do not open it until ``free``."""
        self.close()
        self._held = reason

    def free(self) -> None:
        """The driver may be opened again."""
        self._held = ""

    def reopen(self) -> None:
        """Close the driver and open it anew; what does not open now is tried at the next call."""
        self.close()
        with suppress(GpuError):
            self.open()

    def forget(self, error: GpuError) -> None:
        """A driver that has gone is looked for, and reconciled with, at the next call."""
        if isinstance(error, GpuMissingError):
            self.close()

    def failed(self, error: GpuError) -> None:
        """A call failed: what went wrong may have taken more than was asked about."""
        self.forget(error)
        try:
            if self._ledger is not None:
                self.notes.extend(self._ledger.forget_dead())
        except GpuError as another:
            self.forget(another)

    def close(self) -> None:
        """Let go of the driver."""
        gpus, self._gpus, self._ledger = self._gpus, None, None
        if gpus is not None:
            self.care.closing()
            with suppress(GpuError):
                gpus.close()
