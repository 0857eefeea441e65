"""``Explain`` and ``Reload`` of ``org.ainos.Gpu``: why something was decided, and by which policy.

A policy is changed while the service runs by measure, then load: PID 1 measures what the store has
now and lays out that very file; only then is it loaded and tried. One that does not load changes
nothing: the old one goes on deciding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from .. import constants
from ..child.client import Client
from ..child.server import Handler, VarlinkError
from ..errors import AinosError
from ..wire.protocol import INVALID_PARAMETER, Message
from . import decide
from .decide import Decider, Scorer, describe
from .errors import PolicyError
from .round_records import Entry

INTERFACE = "org.ainos.Gpu"
MODEL = "placement"
_SECONDS = 20.0

Hand = Callable[[str], str]  # a model's name → the path of the file that was measured
Load = Callable[[str], tuple[Scorer, float]]  # a path → the policy, and its deadline in ms


def hand(model: str) -> str:
    """Have PID 1 measure and lay out a model. Raises AinosError."""
    unit = os.environ.get("AINOS_UNIT", "")
    with Client(constants.CONTROL, _SECONDS) as client:
        answer = client.call("org.ainos.Control.HandModel", {"name": unit, "model": model})
    return str(answer.get("path"))


def load(path: str) -> tuple[Scorer, float]:
    """Load a policy. Raises PolicyError."""
    try:
        from . import onnx
    except (ImportError, RuntimeError) as error:
        raise PolicyError(f"onnxruntime cannot be loaded: {error}") from error
    policy = onnx.Policy.load(path)
    return policy, policy.soft * 1000


class Policies:
    """``entries`` are the decisions that are remembered."""

    def __init__(
        self,
        decider: Decider,
        entries: Iterable[Entry],
        deadline_ms: float,
        hand: Hand = hand,
        load: Load = load,
    ) -> None:
        self._decider = decider
        self._entries = entries
        self._hand = hand
        self._load = load
        self.deadline_ms = deadline_ms

    def methods(self) -> Mapping[str, Handler]:
        """The handlers, by method."""
        return {"Explain": self.explain, "Reload": self.reload}

    def explain(self, parameters: Message) -> Mapping[str, object]:
        """``Explain``: the decisions for a unit, or all that are remembered, the latest last."""
        name = parameters.get("name")
        if name is not None and not isinstance(name, str):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "name"})
        chosen = (entry for entry in self._entries if name in (None, entry.agent))
        return {"policy": self.record(), "decisions": [decision(entry) for entry in chosen]}

    def reload(self, _parameters: Message) -> Mapping[str, object]:
        """``Reload``: measure, then load, then let it decide."""
        try:
            path = self._hand(MODEL)
            policy, deadline = self._load(path)
        except (AinosError, VarlinkError) as error:
            reason = f"the policy in force stays: {error}"
            raise VarlinkError(f"{INTERFACE}.Failed", {"reason": reason}) from error
        self._decider.take_over(policy, decide.ACTIVE)
        self.deadline_ms = deadline
        return {"policy": self.record()}

    def record(self) -> Mapping[str, object]:
        """How the policy does, and the one that watches."""
        decider, shadow = self._decider, self._decider.shadow
        watching = None
        if shadow is not None:
            counts = {"asked": shadow.asked, "agreed": shadow.agreed, "failed": shadow.failed}
            watching = counts
        return {
            "state": decider.state,
            "reason": decider.reason,
            "proposals": decider.proposals,
            "accepted": decider.accepted,
            "late": decider.late,
            "deadline_ms": self.deadline_ms,
            "shadow": watching,
        }


def decision(entry: Entry) -> Mapping[str, object]:
    """A decision for people: what was done, who said so, and what else there was."""
    made = entry.decision
    other = made.alternative
    return {
        "time": entry.time,
        "agent": entry.agent,
        "does": made.candidate.kind.value,
        "displaces": list(made.candidate.displaces),
        "profile": made.proposal.profile,
        "gpu": made.proposal.gpu,
        "start": made.proposal.start,
        "size": made.proposal.size,
        "decided_by": made.decided_by,
        "fallback": made.fallback,
        "candidates": made.candidates,
        "legal": made.legal,
        "score": made.score,
        "alternative": None if other is None else describe(other),
        "alternative_score": made.alternative_score,
        "shadow": made.shadow,
        "milliseconds": round(made.seconds * 1000, 3),
        "features": made.features,
        "outcome": entry.outcome,
    }
