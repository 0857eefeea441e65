"""The learned policy: scores candidate placements with onnxruntime, and is never trusted.

The only module that imports onnxruntime; nobody imports it unless a policy was handed over. One
thread, no telemetry, a hard deadline. What the policy proposes is checked elsewhere (``place``);
here it is only made sure that there is a proposal: right schema, known board, in time, finite.

    policy = Policy.load("/proc/self/fd/5")
    policy.propose([[0.0] * 22], [True], ["NVIDIA H100 80GB HBM3"])
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from . import features
from .errors import PolicyError

# Set before the library is loaded: it starts its telemetry (and writes a device id) when loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

onnxruntime.disable_telemetry_events()

# Wall time for one proposal: about what making the instance takes; thinking longer than acting is
# of no use. A proposal takes 0.3 ms natively and tens of milliseconds on a busy emulated CPU.
DEADLINE_S = 0.25
TRIAL_DEADLINE_S = 5.0  # the first run also sets the session up
MODEL_BYTES_MAX = 1 << 20
METADATA_SCHEMA = "ainos.schema"
METADATA_BOARDS = "ainos.boards"
INPUTS = {"features": "tensor(float)", "mask": "tensor(bool)"}
OUTPUTS = {"scores": "tensor(float)", "choice": "tensor(int64)"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A policy's answer: which candidate, its score, and how long it took in seconds."""

    choice: int
    score: float
    seconds: float


class Policy:
    """One loaded policy. Every failure is a PolicyError that says what was wrong."""

    def __init__(
        self,
        session: Any,
        boards: Collection[str],
        deadline: float = DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._boards = frozenset(boards)
        self._deadline = deadline
        self._clock = clock

    @classmethod
    def load(
        cls, path: str, deadline: float = DEADLINE_S, trial_deadline: float = TRIAL_DEADLINE_S
    ) -> Policy:
        """Load a policy and run it once, so that the first decision is as fast as the others."""
        try:
            with open(path, "rb") as file:
                model = file.read(MODEL_BYTES_MAX + 1)
        except OSError as error:
            raise PolicyError(f"the policy cannot be read: {error}") from error
        if len(model) > MODEL_BYTES_MAX:
            raise PolicyError(f"the policy is larger than {MODEL_BYTES_MAX} bytes")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4  # what goes wrong is raised
        try:
            session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        except Exception as error:
            raise PolicyError(f"the policy does not load: {error}") from error
        policy = cls(session, _check_schema(session), deadline)
        policy._run([[0.0] * len(features.NAMES)], [True], trial_deadline)
        return policy

    def propose(
        self, rows: Sequence[Sequence[float]], legal: Sequence[bool], boards: Collection[str]
    ) -> Answer:
        """The policy's choice among candidates. Raises PolicyError when it gives none in time."""
        if unknown := set(boards) - self._boards:
            raise PolicyError(f"it was not fitted to {', '.join(sorted(unknown))}")
        if not all(0.0 <= value <= 1.0 for row in rows for value in row):
            raise PolicyError("a feature is out of range")
        started = self._clock()
        scores, choice = self._run(rows, legal, self._deadline)
        seconds = self._clock() - started
        if seconds > self._deadline:
            raise PolicyError(f"late: {seconds * 1000:.0f} ms of {self._deadline * 1000:.0f}")
        if len(scores) != len(rows):
            raise PolicyError(f"{len(scores)} scores for {len(rows)} candidates")
        if not all(map(math.isfinite, scores)):
            raise PolicyError("a score is NaN or infinite")
        if not 0 <= choice < len(rows):
            raise PolicyError(f"it chose candidate {choice} of {len(rows)}")
        return Answer(choice, scores[choice], seconds)

    def _run(
        self, rows: Sequence[Sequence[float]], legal: Sequence[bool], deadline: float
    ) -> tuple[list[float], int]:
        inputs = {
            "features": np.asarray(rows, dtype=np.float32),
            "mask": np.asarray(legal, dtype=np.bool_),
        }
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        late = threading.Event()

        def terminate() -> None:
            late.set()
            options.terminate = True

        timer = threading.Timer(deadline, terminate)
        timer.daemon = True
        timer.start()
        try:
            scores, choice = self._session.run(list(OUTPUTS), inputs, options)
            return [float(score) for score in scores.ravel()], int(choice.ravel()[0])
        except Exception as error:
            if late.is_set():
                raise PolicyError(f"late: stopped after {deadline * 1000:.0f} ms") from error
            raise PolicyError(f"the policy failed: {error}") from error
        finally:
            timer.cancel()


def _check_schema(session: Any) -> list[str]:
    """The boards that the policy was fitted to, when it speaks this service's schema."""
    for kind, wanted, found in (
        ("inputs", INPUTS, session.get_inputs()),
        ("outputs", OUTPUTS, session.get_outputs()),
    ):
        if {each.name: each.type for each in found} != wanted:
            raise PolicyError(f"the policy's {kind} are not {', '.join(wanted)}")
    metadata = session.get_modelmeta().custom_metadata_map
    if metadata.get(METADATA_SCHEMA) != features.SCHEMA:
        raise PolicyError("the policy was fitted to other features")
    boards = metadata.get(METADATA_BOARDS, "")
    return [board for board in boards.split("\n") if board]
