"""Whether certificates may be issued now. PURE.

The PCRs must be what the machine's own logs lead to, and the last verdict of a verifier, where one
was told, an acceptance that is not older than the interval of attestation.

>>> hindrances([], None, 1000.0, interval=3600, verdict_required=True)
['no verifier has accepted this machine since it started']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..attest import firmware, measurements
from ..attest.tpms import MalformedError
from ..policy import phases


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier said, and when, in seconds of a clock that does not jump."""

    accepted: bool
    reason: str
    at: float


def deviations(values: Mapping[int, bytes], log: bytes, firmware_log: bytes) -> list[str]:
    """Where PCRs are not what the logs lead to. Without a firmware log only what ainit measured can
    be judged.
    """
    own = measurements.read(log)
    found = [f"the log of measurements {problem}" for problem in own.problems]
    start: dict[int, bytes] = {}
    if firmware_log:
        try:
            start = firmware.replay(firmware.parse(firmware_log))
        except MalformedError as error:
            return [*found, f"the firmware's log: {error}"]
        found += [
            f"the firmware's log does not lead to PCR {pcr}"
            for pcr, value in values.items()
            if pcr not in phases.LOGGED and start.get(pcr, phases.ZERO) != value
        ]
    found += [
        f"the log of measurements does not lead to PCR {pcr}"
        for pcr, value in own.replay(start).items()
        if values.get(pcr) != value
    ]
    return found


def hindrances(
    deviating: Sequence[str],
    verdict: Verdict | None,
    now: float,
    *,
    interval: float,
    verdict_required: bool,
) -> list[str]:
    """Why nothing is issued; empty: certificates are."""
    found = list(deviating)
    if verdict is None:
        if verdict_required:
            found.append("no verifier has accepted this machine since it started")
    elif not verdict.accepted:
        found.append(f"a verifier refused this machine: {verdict.reason}")
    elif now - verdict.at >= interval:
        found.append(f"no verifier has accepted this machine in the last {interval:g} s")
    return found
