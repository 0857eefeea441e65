"""What a verifier accepts: images, what may be measured besides, firmware. Default deny. PURE.

The image is found by what it booted: the one whose prediction of PCRs 4 and 11 the machine reports.
Where the policy accepts something besides the image in one of ainit's PCRs, the prediction of that
PCR cannot hold, and what is in it is judged event by event from the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..policy import phases
from . import firmware, measurements
from .golden import Artefact, Golden
from .keys import Findings
from .measurements import Log
from .verdict import ArtefactFact, PcrFact, State

_IMAGE_PCRS = (4, 11)
_NUMBER = re.compile(r"([0-9]*)(.*)")
_MEANING = {
    4: "the boot loader or the kernel image",
    7: "the Secure Boot keys or state",
    9: "the command line that the kernel received",
    11: "the kernel image's parts",
    12: "the machine configuration",
    13: "the models and policies",
    14: "the agents",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What is accepted.

    ``images`` are known builds, ``floor`` the oldest version of them that is accepted (empty: any).
    ``artefacts`` may be measured besides those of the image, ``pins`` are the values that other
    PCRs may have.
    """

    images: tuple[Golden, ...]
    floor: str = ""
    artefacts: frozenset[Artefact] = frozenset()
    pins: Mapping[int, frozenset[bytes]] = field(default_factory=dict)


def version_key(version: str) -> list[tuple[int, str]]:
    """A version in the order of versions; letters behind a number come after it.

    >>> version_key("0.10.1") > version_key("0.9")
    True
    """
    parts = (_NUMBER.match(part) for part in version.split("."))
    return [(int(found[1] or 0), found[2]) for found in parts if found]


def find_image(values: Mapping[int, bytes], policy: Policy, findings: Findings) -> Golden:
    """The image that the machine booted, or the newest one, which the rest is then held against."""
    newest = max(policy.images, key=lambda image: version_key(image.version))
    booted = [
        image
        for image in policy.images
        if all(image.pcrs.get(pcr) == values.get(pcr) for pcr in _IMAGE_PCRS)
    ]
    if not booted:
        return newest
    image = booted[0]
    if policy.floor and version_key(image.version) < version_key(policy.floor):
        text = f"is older than {policy.floor}, the oldest version that is accepted"
        findings.machine("version", f"image {image.version}", text)
    return image


def check_artefacts(
    log: Log, image: Golden, policy: Policy, findings: Findings
) -> tuple[ArtefactFact, ...]:
    """Every artefact of the image and everything else that was measured."""
    facts = []
    for fact in measurements.compare(log, image.artefacts):
        found = Artefact(fact.kind, fact.name, fact.measured or "")
        if fact.state in (State.EXTRA, State.ALTERED) and found in policy.artefacts:
            facts.append(replace(fact, state=State.ACCEPTED))
            continue
        facts.append(fact)
        if fact.state is not State.MEASURED:
            subject = f"{fact.kind} {fact.name}"
            findings.machine(fact.state.value, subject, measurements.describe(fact))
    return tuple(facts)


def check_pcrs(
    values: Mapping[int, bytes],
    at_cap: Mapping[int, bytes],
    image: Golden,
    policy: Policy,
    artefacts: Sequence[ArtefactFact],
    events: Sequence[firmware.FirmwareEvent],
    findings: Findings,
) -> tuple[PcrFact, ...]:
    """Every quoted PCR against its prediction and its pins."""
    judged_by_log = {
        phases.KIND_PCR[fact.kind] for fact in artefacts if fact.state is State.ACCEPTED
    }
    facts = []
    for pcr, value in values.items():
        predicted = None if pcr in judged_by_log else image.pcrs.get(pcr)
        reached = at_cap.get(pcr)
        match = None if predicted is None else predicted in (value, reached)
        if predicted is not None and not match:
            text = f"{_meaning(pcr, image, events)} differ from the build:"
            text = f"{text} {(reached or value).hex()} was reported, {predicted.hex()} predicted"
            findings.machine("golden", f"PCR {pcr}", text)
        if pcr in policy.pins and value not in policy.pins[pcr]:
            text = f"the firmware or its settings differ: {value.hex()} is not accepted"
            findings.machine("pin", f"PCR {pcr}", text)
        facts.append(
            PcrFact(
                pcr,
                predicted.hex() if predicted is not None else None,
                reached.hex() if reached is not None else None,
                value.hex(),
                match,
            )
        )
    return tuple(facts)


def _meaning(pcr: int, image: Golden, events: Sequence[firmware.FirmwareEvent]) -> str:
    """What the PCR holds; for PCR 7 the variables that are others than the build's."""
    if pcr != 7 or not image.variables:
        return _MEANING[pcr]
    measured = firmware.variables(events)
    changed = [name for name in image.variables if measured.get(name) != image.variables[name]]
    return f"{_MEANING[pcr]} ({', '.join(changed)})" if changed else _MEANING[pcr]
