"""``python3 -m ainit.sched``: the GPU service, started by PID 1.

The policy comes as an inherited descriptor (``AINOS_MODEL_PLACEMENT``), measured by PID 1. Without
one, onnxruntime is never loaded.
"""

from __future__ import annotations

import os

from .. import constants
from ..child.server import Service
from ..wire import interface_text
from . import decide
from .decide import Decider
from .errors import GpuError, GpuMissingError, PolicyError
from .journal import Journal
from .service import INTERFACE, Gpus, Scheduler

DIRECTORY = f"{constants.RUNTIME}/gpu"
POLICY_VARIABLE = "AINOS_MODEL_PLACEMENT"
_MISSING = "no policy was handed over"


def load_decider(path: str | None) -> tuple[Decider, float]:
    """What decides, and the policy's deadline in milliseconds (0 without a policy)."""
    if not path:
        return Decider(None, decide.MISSING, _MISSING), 0.0
    try:
        from . import onnx
    except (ImportError, RuntimeError) as error:  # numpy raises the latter on an older processor
        return Decider(None, decide.REFUSED, f"onnxruntime cannot be loaded: {error}"), 0.0
    try:
        policy = onnx.Policy.load(path)
    except PolicyError as error:
        return Decider(None, decide.REFUSED, str(error)), onnx.DEADLINE_S * 1000
    return Decider(policy, decide.ACTIVE), onnx.DEADLINE_S * 1000


def open_driver() -> Gpus:
    """The GPUs of this machine. Raises GpuMissingError."""
    try:
        from .nvml import Nvml
    except ImportError as error:
        raise GpuMissingError(f"the NVML binding is not in this image: {error}") from error
    return Nvml()


def main() -> None:
    """Reconcile what is left of an earlier life, then answer calls for ever."""
    os.makedirs(DIRECTORY, mode=0o700, exist_ok=True)
    decider, deadline_ms = load_decider(os.environ.get(POLICY_VARIABLE))
    print(f"policy: {decider.state} {decider.reason}".rstrip(), flush=True)
    scheduler = Scheduler(open_driver, Journal(f"{DIRECTORY}/journal.json"), decider, deadline_ms)
    try:
        gpus, _ = scheduler.open()
    except GpuError as error:
        print(f"no GPU: {error}", flush=True)
    else:
        mark = " (emulated)" if gpus.is_emulated else ""
        print(f"{len(gpus.devices())} GPUs{mark}, driver {gpus.version}", flush=True)
    Service(interface_text(INTERFACE), scheduler.methods()).serve()


if __name__ == "__main__":
    main()
