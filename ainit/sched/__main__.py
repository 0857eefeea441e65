"""``python3 -m ainit.sched``: the GPU service, started by PID 1.

The policy comes as an inherited descriptor (``AINOS_MODEL_PLACEMENT``), measured by PID 1, and so
does the one that only watches (``AINOS_MODEL_PLACEMENT_SHADOW``). Without, onnxruntime is never
loaded.
"""

from __future__ import annotations

import os

from .. import constants
from ..child.server import Service
from ..wire import interface_text
from . import decide, outside, queue_file
from .care import Care
from .care_methods import CareMethods
from .condition import Store
from .decide import Decider, Shadow
from .drain import Units
from .errors import GpuError, GpuMissingError, PolicyError
from .journal import Journal, PartitionFile
from .monitor import NoGpus, Source
from .opening import Gpus, Opening
from .partition_methods import Partitions
from .service import INTERFACE, Scheduler
from .transaction import boot_time

DIRECTORY = f"{constants.RUNTIME}/gpu"
BRING_UP_S = 20.0  # for the last boot's partition, before agents ask; then beside them
KEPT = f"{constants.STATE}/gpu"
POLICY_VARIABLE = "AINOS_MODEL_PLACEMENT"
SHADOW_VARIABLE = f"{POLICY_VARIABLE}_SHADOW"
_MISSING = "no policy was handed over"


def load_decider(path: str | None) -> tuple[Decider, float]:
    """What decides, and the policy's deadline in milliseconds (0 without a policy)."""
    if not path:
        return Decider(None, decide.MISSING, _MISSING), 0.0
    try:
        from . import onnx
        from .tables import Tables
    except (ImportError, RuntimeError) as error:  # numpy raises the latter on an older processor
        return Decider(None, decide.REFUSED, f"onnxruntime cannot be loaded: {error}"), 0.0
    try:
        policy = onnx.Policy.load(path)
    except PolicyError as error:
        decider = Decider(None, decide.REFUSED, str(error), ask=Tables().ask)
        return decider, onnx.SOFT_S * 1000
    return Decider(policy, decide.ACTIVE, ask=Tables().ask), policy.soft * 1000


def watch(decider: Decider, path: str | None) -> str:
    """Have a second policy watch what is decided; what became of that, empty without one."""
    if not path:
        return ""
    try:
        from . import onnx

        decider.shadow = Shadow(onnx.Policy.load(path))
    except (ImportError, RuntimeError, PolicyError) as error:
        return f"refused: {error}"
    return "watches"


def open_driver() -> Gpus:
    """The GPUs of this machine. Raises GpuMissingError."""
    try:
        from .nvml import Nvml
    except ImportError as error:
        raise GpuMissingError(f"the NVML binding is not in this image: {error}") from error
    return Nvml()


def load_care() -> Care:
    """Who looks after the GPUs; an image without the NVML binding has none to look after."""
    source: Source
    try:
        from .nvml_health import NvmlHealth
    except ImportError:
        source = NoGpus()
    else:
        source = NvmlHealth()
    store = Store(f"{DIRECTORY}/health.json")
    return Care(source, store, outside.revoke, outside.say, boot_time, outside.expected)


def keeper() -> PartitionFile:
    """Where the partition outlives a boot; without a state partition it does not."""
    try:
        os.makedirs(KEPT, mode=0o700, exist_ok=True)
    except OSError as error:
        print(f"{KEPT}: {error.strerror}: partitions are kept until the next boot", flush=True)
    return PartitionFile(f"{KEPT}/partition.json")


def main() -> None:
    """Reconcile what is left of an earlier life, then answer calls for ever."""
    os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
    decider, deadline_ms = load_decider(os.environ.get(POLICY_VARIABLE))
    print(f"policy: {decider.state} {decider.reason}".rstrip(), flush=True)
    if said := watch(decider, os.environ.get(SHADOW_VARIABLE)):
        print(f"shadow policy: {said}", flush=True)
    care = load_care()
    opening = Opening(open_driver, Journal(f"{DIRECTORY}/journal.json"), care)
    scheduler = Scheduler(
        opening,
        decider,
        deadline_ms,
        settings=queue_file.settings(constants.MACHINE_JSON),
        queue_path=f"{DIRECTORY}/queue.json",
        log=lambda line: print(line, flush=True),
    )
    partitions = Partitions(opening.open, Units(), keeper(), boot_time, forget=opening.forget)
    try:
        gpus, _ = opening.open()
    except GpuError as error:
        print(f"no GPU: {error}", flush=True)
    else:
        mark = " (emulated)" if gpus.is_emulated else ""
        print(f"{len(gpus.devices())} GPUs{mark}, driver {gpus.version}", flush=True)
        partitions.bring_up(BRING_UP_S)
    care.attach(opening)
    bus = outside.Bus(care.on_bus)
    bus.look()

    def tick() -> float:
        """One turn of each; while there is no driver, only care and calls look for it."""
        waits = (care.tick(), partitions.tick() if opening.is_open else -1.0)
        return min(wait for wait in waits if wait >= 0)

    methods = {**scheduler.methods(), **partitions.methods(), **CareMethods(care).table()}
    service = Service(interface_text(INTERFACE), methods)
    service.watch(care.fileno(), lambda: None)  # a turn follows anyway
    service.watch(bus.fileno(), bus.look)
    service.serve(tick=tick)


if __name__ == "__main__":
    main()
