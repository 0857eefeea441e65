"""Health and readings in memory. It passes the contract suite that NVML passes on the emulator."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ainit.sched.errors import GpuLostError
from ainit.sched.readings import Fabric, Reading

GPU0, GPU1 = "GPU-fake-0", "GPU-fake-1"


@dataclass(frozen=True)
class FakeEvent:
    """What ``nvml_health.XidEvent`` is."""

    uuid: str
    code: int
    instance: int | None


class FakeListener:
    """Xids that come after it was made, of the GPUs that it was made for."""

    def __init__(self, health: FakeHealth, uuids: Iterable[str]) -> None:
        self._health = health
        self._uuids = frozenset(uuids)
        self._events: queue.SimpleQueue[FakeEvent] = queue.SimpleQueue()

    def tell(self, event: FakeEvent) -> None:
        if event.uuid in self._uuids:
            self._events.put(event)

    def wait(self, timeout_ms: int) -> FakeEvent | None:
        try:
            return self._events.get(timeout=timeout_ms / 1000)
        except queue.Empty:
            return None

    def close(self) -> None:
        self._health.listeners.discard(self)


class FakeHealth:
    """What ``nvml_health.NvmlHealth`` is, without a driver."""

    def __init__(self, count: int = 2) -> None:
        self._readings = {
            f"GPU-fake-{index}": Reading(
                index=index,
                uuid=f"GPU-fake-{index}",
                name="NVIDIA H100 80GB HBM3",
                bus=f"00000000:0{index + 1}:00.0",
                temperature_c=30,
                power_w=60.0,
                power_limit_w=700.0,
                clock_sm_mhz=345,
                clock_memory_mhz=1593,
                throttle=("idle",),
                memory_used_mib=0,
                memory_mib=81559,
                pcie_replays=0,
                persistence=False,
                uncorrected=0,
                corrected=0,
                aggregate=0,
                remapped=0,
                remap_pending=False,
                remap_failed=False,
                fabric=Fabric.COMPLETED,
            )
            for index in range(count)
        }
        self._lost: set[str] = set()
        self._open: dict[str, threading.Event] = {}
        self.listeners: set[FakeListener] = set()

    def uuids(self) -> tuple[str, ...]:
        return tuple(uuid for uuid in self._readings if uuid not in self._lost)

    def read(self, uuid: str) -> Reading:
        if gate := self._open.get(uuid):
            gate.wait()
        if uuid in self._lost or uuid not in self._readings:
            raise GpuLostError(f"reading {uuid}: GPU is lost")
        return replace(self._readings[uuid])  # every reading is a new one

    def listen(self, uuids: Iterable[str]) -> FakeListener:
        listener = FakeListener(self, uuids)
        self.listeners.add(listener)
        return listener

    def persist(self) -> list[str]:
        for uuid in self.uuids():
            self.set(uuid, persistence=True)
        return []

    # What happens to the machine.

    def set(self, uuid: str, **fields: object) -> None:
        self._readings[uuid] = replace(self._readings[uuid], **fields)  # type: ignore[arg-type]

    def lose(self, uuid: str) -> None:
        self._lost.add(uuid)

    def bring_back(self, uuid: str) -> None:
        self._lost.discard(uuid)

    def xid(self, uuid: str, code: int, instance: int | None = None) -> None:
        for listener in list(self.listeners):
            listener.tell(FakeEvent(uuid, code, instance))

    def hang(self, uuid: str) -> None:
        self._open[uuid] = threading.Event()

    def go_on(self, uuid: str) -> None:
        self._open.pop(uuid).set()
