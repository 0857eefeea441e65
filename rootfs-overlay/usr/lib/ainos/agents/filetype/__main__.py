"""The ``filetype`` agent: answers ``org.ainos.agent.FileType``."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read while onnxruntime is imported

import onnxruntime
from identify import Identifier, Labels

from ainit.child import model
from ainit.child.server import Service, VarlinkError
from ainit.wire import interface_text
from ainit.wire.protocol import INVALID_PARAMETER, Message

HERE = os.path.dirname(os.path.abspath(__file__))


def session() -> onnxruntime.InferenceSession:
    """The model on the GPU where onnxruntime has one, else on one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    return onnxruntime.InferenceSession(model.content("magika"), options, providers=providers)


def main() -> None:
    """Load, run once to be warm, serve."""
    loaded = session()
    labels = Labels.load(f"{HERE}/data/config.min.json", f"{HERE}/data/content_types_kb.min.json")
    identifier = Identifier(
        labels, lambda tokens: loaded.run(["target_label"], {"bytes": [tokens]})[0][0].tolist()
    )
    identifier.identify(b"#!/bin/sh\nexit 0\n")
    provider = loaded.get_providers()[0].removesuffix("ExecutionProvider").lower()

    def identify(parameters: Message) -> Mapping[str, object]:
        try:
            content = base64.b64decode(parameters["content"], validate=True)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError) as error:
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "content"}) from error
        start = time.perf_counter()
        answer = identifier.identify(content)
        latency = (time.perf_counter() - start) * 1000
        return {**answer, "latency_ms": round(latency, 3), "provider": provider}

    Service(interface_text("org.ainos.agent.FileType"), {"Identify": identify}).serve()


main()
