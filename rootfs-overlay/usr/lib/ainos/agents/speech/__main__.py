"""The ``speech`` agent: answers ``org.ainos.agent.Speech``."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read while onnxruntime is imported

import numpy as np
from detect import FRAME, RATE, Array, Model, probabilities, samples, segments

from ainit.child import extension, model
from ainit.child.server import Service, VarlinkError
from ainit.wire import interface_text
from ainit.wire.protocol import INVALID_PARAMETER, Message

if TYPE_CHECKING:
    import onnxruntime

SECONDS_MAX = 60
GPU = "CUDAExecutionProvider"


def session() -> onnxruntime.InferenceSession:
    """The model on the GPU where onnxruntime has one, else on one core."""
    extension.use()  # its ONNX Runtime, with CUDA, instead of the root's
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    available = onnxruntime.get_available_providers()
    if GPU in available:
        onnxruntime.preload_dlls(directory="")  # the CUDA libraries beside it
    providers = [name for name in (GPU, "CPUExecutionProvider") if name in available]
    return onnxruntime.InferenceSession(model.content("silero-vad"), options, providers=providers)


def caller(loaded: onnxruntime.InferenceSession) -> Model:
    """The model as a function."""

    def run(frames: Array, hidden: Array, cell: Array) -> tuple[Array, Array, Array]:
        given = {"input": frames, "h": hidden, "c": cell}
        found, hidden, cell = loaded.run(["speech_probs", "hn", "cn"], given)
        return found, hidden, cell

    return run


def sound(parameters: Message) -> Array:
    """The samples in a call."""
    try:
        audio = base64.b64decode(parameters["audio"], validate=True)  # type: ignore[arg-type]
        found = samples(audio)
    except (KeyError, TypeError, ValueError) as error:
        raise VarlinkError(INVALID_PARAMETER, {"parameter": "audio"}) from error
    if found.size > SECONDS_MAX * RATE:
        raise VarlinkError("org.ainos.agent.Speech.TooLong", {"seconds_max": SECONDS_MAX})
    return found


def main() -> None:
    """Load, run once to be warm, serve."""
    loaded = session()
    run = caller(loaded)
    probabilities(run, np.zeros(FRAME, np.float32))
    provider = loaded.get_providers()[0].removesuffix("ExecutionProvider").lower()

    def detect(parameters: Message) -> Mapping[str, object]:
        heard = sound(parameters)
        start = time.perf_counter()
        found = probabilities(run, heard)
        spoken = segments(found, heard.size)
        latency = (time.perf_counter() - start) * 1000
        return {
            "speech": bool(spoken),
            "segments": [{"start": first / RATE, "end": last / RATE} for first, last in spoken],
            "probabilities": [round(probability, 4) for probability in found],
            "window_ms": FRAME * 1000 / RATE,
            "latency_ms": round(latency, 3),
            "provider": provider,
        }

    Service(interface_text("org.ainos.agent.Speech"), {"Detect": detect}).serve()


main()
