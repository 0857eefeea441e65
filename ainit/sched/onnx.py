"""The learned policy: scores candidate placements with onnxruntime, and is never trusted.

The only module that imports onnxruntime; nobody imports it unless a policy was handed over. One
thread, no telemetry, a hard deadline. What the policy proposes is checked elsewhere (``place``);
here it is only made sure that there is a proposal: right schema, known board, in time, finite.

    policy = Policy.load("/proc/self/fd/5")
    policy.propose(question.rows, question.legal, question.boards)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from . import features
from .errors import PolicyError, PolicyLateError
from .watch import Watch

# Set before the library is loaded: it starts its telemetry (and writes a device id) when loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

onnxruntime.disable_telemetry_events()

# Wall time for one proposal. Beyond the first a policy is stopped, beyond the second its answer is
# not taken: a decision is to take a millisecond, or many times what it took in trials on this very
# machine, where that is slow, busy or emulated.
DEADLINE_S = 0.25
SOFT_S = 0.001
BRISK_S = 0.0001  # who takes no longer in its trials is held to SOFT_S
SOFT_FACTOR = 50.0
TRIAL_DEADLINE_S = 5.0  # the first run also sets the session up
TRIALS = 5
DEADLINE_VARIABLE = "AINOS_POLICY_DEADLINE_MS"
TRIAL_ROWS = 320
MODEL_BYTES_MAX = 1 << 20
METADATA_SCHEMA = "ainos.schema"
METADATA_BOARDS = "ainos.boards"
INPUTS = {"features": "tensor(float)", "mask": "tensor(bool)"}
OUTPUTS = {"scores": "tensor(float)", "choice": "tensor(int64)"}
_NAMES = list(OUTPUTS)
_WATCH = Watch()  # of all policies: one runs at a time

Rows = Any  # of array.array or numpy: floats, row after row


@dataclass(frozen=True, slots=True)
class Answer:
    """A policy's answer: which candidate, its score, how long it took in seconds, and all scores,
    those of illegal candidates far below the others.
    """

    choice: int
    score: float
    seconds: float
    scores: Any = None


class Policy:
    """One loaded policy. Every failure is a PolicyError that says what was wrong.

    ``deadline`` stops it, what comes after ``soft`` is not taken; both in seconds.
    """

    def __init__(
        self,
        session: Any,
        boards: Collection[str],
        deadline: float = DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
        soft: float | None = None,
    ) -> None:
        self._session = session
        self._boards = frozenset(boards)
        self._deadline = deadline
        self._clock = clock
        self._options = _run_options()
        self.soft = deadline if soft is None else soft

    @classmethod
    def load(
        cls, path: str, deadline: float | None = None, trial_deadline: float = TRIAL_DEADLINE_S
    ) -> Policy:
        """Load a policy and try it, so that the first decision is as fast as the others.

        Without a ``deadline`` it gets the usual ones, the soft one by what the trials took.
        """
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
        policy = cls(session, _check_schema(session), DEADLINE_S if deadline is None else deadline)
        typical = policy._try(trial_deadline)
        if deadline is None:
            policy.soft = _soft(typical, policy._deadline)
        return policy

    def propose(self, rows: Rows, legal: Any, boards: Collection[str]) -> Answer:
        """The policy's choice among candidates, whose features follow each other in ``rows``.

        Raises PolicyError when it gives none, PolicyLateError when it gives it too late.
        """
        if not self._boards.issuperset(boards):
            unknown = ", ".join(sorted(set(boards) - self._boards))
            raise PolicyError(f"it was not fitted to {unknown}")
        started = self._clock()
        scores, choice = self._run(rows, legal, self._deadline)
        seconds = self._clock() - started
        if len(scores) != len(legal):
            raise PolicyError(f"{len(scores)} scores for {len(legal)} candidates")
        if not np.isfinite(scores).all():
            raise PolicyError("a score is NaN or infinite")
        if not 0 <= choice < len(legal):
            raise PolicyError(f"it chose candidate {choice} of {len(legal)}")
        if seconds > self.soft:
            raise PolicyLateError(f"late: {seconds * 1000:.1f} ms of {self.soft * 1000:.1f}")
        return Answer(choice, float(scores[choice]), seconds, scores)

    def _try(self, deadline: float) -> float:
        """Run it on nothing in particular; what it typically takes, in seconds."""
        rows = np.zeros((TRIAL_ROWS, len(features.NAMES)), dtype=np.float32)
        mask = np.ones(TRIAL_ROWS, dtype=np.bool_)
        taken = []
        for _ in range(TRIALS):
            started = time.monotonic()
            self._run(rows, mask, deadline)
            taken.append(time.monotonic() - started)
        return sorted(taken)[TRIALS // 2]

    def _run(self, rows: Rows, legal: Any, deadline: float) -> tuple[Any, int]:
        try:
            table = (
                rows
                if isinstance(rows, np.ndarray)
                else np.frombuffer(rows, dtype=np.float32).reshape(len(legal), -1)
            )
        except ValueError as error:
            raise PolicyError(f"the policy failed: {error}") from error
        # A comparison with NaN is false, so that one is out of range, too.
        if not (table.min() >= 0.0 and table.max() <= 1.0):
            raise PolicyError("a feature is out of range")
        options = self._options
        _WATCH.begin(deadline, lambda: setattr(options, "terminate", True))
        stopped = False
        try:
            inputs = {"features": table, "mask": np.asarray(legal, dtype=np.bool_)}
            scores, choice = self._session.run(_NAMES, inputs, options)
            return scores.ravel(), int(choice.ravel()[0])
        except Exception as error:
            stopped = _WATCH.finish()
            if stopped:
                raise PolicyLateError(f"late: stopped after {deadline * 1000:.0f} ms") from error
            raise PolicyError(f"the policy failed: {error}") from error
        finally:
            if _WATCH.finish() or stopped:
                self._options = _run_options()  # of the old ones the end may come yet


def _soft(typical: float, deadline: float) -> float:
    """The soft deadline by what a trial took, both in seconds; or what DEADLINE_VARIABLE says."""
    said = os.environ.get(DEADLINE_VARIABLE, "")
    if said.isdigit():
        return min(int(said) / 1000, deadline)
    return SOFT_S if typical <= BRISK_S else min(max(SOFT_S, SOFT_FACTOR * typical), deadline)


def _run_options() -> Any:
    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    return options


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
