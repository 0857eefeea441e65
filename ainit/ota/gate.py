"""Whether a new release is as healthy as the one before it was, for long enough. PURE.

Looks at what services answered: Status of PID 1, Health of the GPUs, Status of the network. What
was wrong before the update already does not count against it; what was there before has to be there
again.

    gate = Gate(healthy_s=300, within_s=1800, began=now)
    gate.look(problems(answers, before, required), restarts(answers), now)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ..policy import update
from .history import State

WAITING, PASSED, FAILED = "waiting", "passed", "failed"
_UP = ("ready", "exited")
_NO_GPU = ("lost", "silent")

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the services said; an interface that did not answer is the reason for that, as text.

    ``evidence`` is why attestation fails, ``verdict`` why a verifier refused; both empty if not.
    """

    status: Record
    gpus: Record | str = ""
    network: Record | str = ""
    evidence: str = ""
    verdict: str = ""


@dataclass(slots=True)
class Gate:
    """Healthy for ``healthy_s`` without a break, within ``within_s`` of ``began``; all in seconds
    of a clock that does not jump.
    """

    healthy_s: float
    within_s: float
    began: float
    since: float | None = None
    reason: str = "it was not looked at yet"
    restarts: Mapping[str, int] | None = None

    def look(self, found: Sequence[str], restarts: Mapping[str, int], now: float) -> str:
        """One look: PASSED, FAILED or WAITING; ``reason`` says why not yet, or why not."""
        fresh = [
            f"{name} was restarted"
            for name, count in restarts.items()
            if self.restarts is not None and count > self.restarts.get(name, 0)
        ]
        self.restarts = dict(restarts)
        if wrong := [*found, *fresh]:
            self.since = None
            self.reason = "; ".join(wrong)
        else:
            self.since = now if self.since is None else self.since
            if now - self.since >= self.healthy_s:
                return PASSED
            left = self.healthy_s - (now - self.since)
            self.reason = f"healthy so far, {left:.0f} s to go"
        if now - self.began < self.within_s:
            return WAITING
        self.reason = f"not healthy within {self.within_s:.0f} s: {self.reason}"
        return FAILED


def problems(answers: Answers, before: State, required: Collection[str]) -> list[str]:
    """What speaks against the release that runs."""
    found = _machine(answers.status, before)
    if update.AGENTS in required:
        units = {str(unit.get("name")): unit for unit in _records(answers.status, "units")}
        found += [
            f"{name} is {units[name].get('state')}: {units[name].get('reason')}"
            for name in before.agents
            if name in units and units[name].get("state") not in _UP
        ]
    if update.GPUS in required:
        found += _gpus(answers.gpus, before.gpus)
    if update.NETWORK in required:
        found += _network(answers.network, before.interfaces)
    if update.ATTESTATION in required:
        if answers.evidence:
            found.append(f"no evidence for a verifier: {answers.evidence}")
        if answers.verdict:
            found.append(f"a verifier refused it: {answers.verdict}")
    return found


def restarts(answers: Answers) -> dict[str, int]:
    """How often each unit that counts was restarted."""
    found = {}
    for unit in _records(answers.status, "units"):
        count = unit.get("restarts")
        if isinstance(count, int) and (unit.get("essential") or unit.get("kind") == "agent"):
            found[str(unit.get("name"))] = count
    return found


def before(answers: Answers, state: State) -> State:
    """The state with what the machine is like now, to be compared with later."""
    gpus = answers.gpus if isinstance(answers.gpus, Mapping) else {}
    count = gpus.get("found")
    return replace(
        state,
        agents=tuple(
            str(unit.get("name"))
            for unit in _records(answers.status, "units")
            if unit.get("kind") == "agent" and unit.get("state") in _UP
        ),
        interfaces=tuple(_up(answers.network)),
        findings=tuple(_findings(answers.status)),
        gpus=count if isinstance(count, int) else 0,
    )


def has_tpm(status: Record) -> bool:
    """Whether the machine can be attested at all."""
    machine = status.get("machine")
    return isinstance(machine, dict) and machine.get("tpm") == "present"


def _machine(status: Record, before: State) -> list[str]:
    machine = status.get("machine")
    if not isinstance(machine, dict):
        return ["PID 1 does not answer"]
    fresh = [finding for finding in _findings(status) if finding not in before.findings]
    if machine.get("health") in ("healthy", "degraded"):
        return fresh
    return fresh or [f"the machine is {machine.get('health')}"]


def _findings(status: Record) -> list[str]:
    machine = status.get("machine")
    found = machine.get("findings") if isinstance(machine, dict) else None
    return [str(finding) for finding in found] if isinstance(found, list) else []


def _gpus(health: Record | str, count: int) -> list[str]:
    if isinstance(health, str):
        return [f"the GPU service does not answer: {health}"] if count else []
    expected, found = health.get("expected"), health.get("found")
    wanted = max(count, expected if isinstance(expected, int) else 0)
    have = found if isinstance(found, int) else 0
    wrong = [f"{have} of {wanted} GPUs are there"] if have < wanted else []
    return wrong + [
        f"GPU {gpu.get('index')} is {gpu.get('state')}"
        for gpu in _records(health, "gpus")
        if gpu.get("state") in _NO_GPU
    ]


def _network(status: Record | str, interfaces: Collection[str]) -> list[str]:
    if isinstance(status, str):
        return [f"the network service does not answer: {status}"] if interfaces else []
    return [f"{name} has no address" for name in interfaces if name not in _up(status)]


def _up(network: Record | str) -> list[str]:
    if isinstance(network, str):
        return []
    return [
        str(one.get("name"))
        for one in _records(network, "interfaces")
        if one.get("state") == "ready" and one.get("addresses")
    ]


def _records(answer: Record, name: str) -> list[Record]:
    found = answer.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
