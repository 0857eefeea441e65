"""Whether the state opens, with what, and if not, what changed. PURE.

What is sealed lies in the header of the state partition, one record a floor. The counter in the TPM
says which floor holds: a record of floor f opens while the counter is at most ``base + f``, so
raising the counter by one closes the lowest record for ever, whoever kept a copy of it.

    found = decide(sealed, approvals, pcr_values, counter)
    found.choices or found.findings
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .approval import PREDICTED, Approval, Grant

# Bound on the machine, to what it finds there.
BOUND = (7,)
# A release brings records for the floors up to its generation; no more than these at once.
AHEAD = 8
_MEANING = {
    7: "the Secure Boot keys or state",
    9: "the command line that the kernel received",
    11: "the kernel image's parts",
    12: "something was measured before ainit started, such as an added command line",
}


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed secret: for images that ``key`` approves at ``floor``, while the counter is at most
    ``most``, with these values in the ``bound`` PCRs.
    """

    floor: int
    most: int
    key: tuple[int, int]
    bound: Mapping[int, bytes]
    blob: bytes

    @property
    def base(self) -> int:
        """Where the counter stands at floor 0."""
        return self.most - self.floor

    def to_record(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "floor": self.floor,
            "most": self.most,
            "key": [f"{number:064x}" for number in self.key],
            "bound": {str(pcr): value.hex() for pcr, value in sorted(self.bound.items())},
            "blob": self.blob.hex(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Sealed:
        """The record in a header. Raises ValueError, TypeError or KeyError."""
        key, bound = record["key"], record["bound"]
        if not isinstance(key, list) or not isinstance(bound, dict):
            raise TypeError("key or bound of a sealed record")
        x, y = (int(str(number), 16) for number in key)
        return cls(
            floor=_whole(record["floor"]),
            most=_whole(record["most"]),
            key=(x, y),
            bound={int(pcr): bytes.fromhex(value) for pcr, value in bound.items()},
            blob=bytes.fromhex(str(record["blob"])),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """A record, and what should open it."""

    sealed: Sealed
    grant: Grant


@dataclass(frozen=True, slots=True)
class Decision:
    """What to try, in this order; when it is nothing, ``findings`` say why. ``floor`` is that of
    the machine, 0 when it is not known; ``approval`` is that of the image.
    """

    choices: tuple[Choice, ...]
    findings: tuple[str, ...]
    floor: int
    approval: Approval | None


def decide(
    sealed: Sequence[Sealed],
    approvals: Sequence[Approval],
    values: Mapping[int, bytes],
    counter: int | None,
) -> Decision:
    """Whether an image with these PCRs opens the state. ``approvals`` are all that are there."""
    approval = matching(approvals, values)
    alive, floor = holding(sealed, counter)
    findings = _broken(sealed, alive, counter)
    if approval is None:
        findings += _unapproved(approvals, values)
    elif alive:
        findings += _unfit(alive, approval, floor)
    findings += _moved(alive, values)
    usable = [] if approval is None else _usable(alive, approval, values)
    return Decision(tuple(usable), () if usable else tuple(findings), floor, approval)


def holding(sealed: Iterable[Sealed], counter: int | None) -> tuple[list[Sealed], int]:
    """The records that the counter has not closed, and the floor of the machine, 0 when it is not
    known.
    """
    if counter is None:
        return [], 0
    alive = [each for each in sealed if counter <= each.most]
    return alive, counter - alive[0].base if alive else 0


def matching(approvals: Iterable[Approval], values: Mapping[int, bytes]) -> Approval | None:
    """The approval of the image that these PCRs describe."""
    for approval in approvals:
        if all(values.get(pcr) == value for pcr, value in approval.pcrs.items()):
            return approval
    return None


def grant(sealed: Sealed, approval: Approval) -> Grant:
    """What opens a record, of an image that is signed for its floor."""
    signature, bound = approval.signatures[sealed.floor], tuple(sorted(sealed.bound))
    return Grant(sealed.key, signature, PREDICTED, sealed.floor, sealed.most, bound)


def ahead(sealed: Iterable[Sealed], approval: Approval, floor: int) -> list[int]:
    """The floors that the running image should seal for, and that have no record."""
    have = {each.floor for each in sealed}
    wanted = range(floor, min(approval.generation, floor + AHEAD) + 1)
    return [each for each in wanted if each not in have and each in approval.signatures]


def raised(
    sealed: Iterable[Sealed], approvals: Mapping[str, Approval | None], floor: int
) -> tuple[int, list[str]]:
    """How high the floor may be: as high as every image on the boot partition can follow, and no
    higher than there are records. ``approvals`` are by the image's name. Says who holds it down.
    """
    best = max((each.floor for each in sealed), default=floor)
    held = []
    for name, approval in sorted(approvals.items()):
        reach = max(approval.signatures, default=0) if approval else 0
        if reach < best:
            best = reach
            word = f"is of generation {reach}" if approval else "has no approval"
            held.append(f"{name} {word}")
    return max(floor, best), held


def _usable(
    alive: Iterable[Sealed], approval: Approval, values: Mapping[int, bytes]
) -> list[Choice]:
    """The highest floor first: it is the one that stays."""
    found = []
    for each in sorted(alive, key=lambda each: -each.floor):
        holds = all(values.get(pcr) == value for pcr, value in each.bound.items())
        if each.floor in approval.signatures and holds and each.key == approval.key:
            found.append(Choice(each, grant(each, approval)))
    return found


def _broken(sealed: Sequence[Sealed], alive: Sequence[Sealed], counter: int | None) -> list[str]:
    if not sealed:
        return ["nothing is sealed to a TPM: the state opens with the recovery key only"]
    if counter is None:
        return ["this TPM has no counter of the floor: it was cleared, or is another TPM"]
    if not alive:
        return ["the floor has passed everything in the header: an older header was put back"]
    return []


def _unapproved(approvals: Sequence[Approval], values: Mapping[int, bytes]) -> list[str]:
    """What differs from the approval that comes closest."""
    if not approvals:
        return ["no image on the boot partition has an approval: nobody signed what booted"]

    def differing(approval: Approval) -> list[int]:
        return [pcr for pcr, value in approval.pcrs.items() if values.get(pcr) != value]

    nearest = min(approvals, key=lambda approval: len(differing(approval)))
    differ = differing(nearest)
    return [
        f"PCR {pcr} ({_MEANING[pcr]}) differs from what was signed for {nearest.version}"
        for pcr in differ
    ]


def _unfit(alive: Sequence[Sealed], approval: Approval, floor: int) -> list[str]:
    if not any(each.key == approval.key for each in alive):
        return [f"the approval of {approval.version} is by another key than the state is sealed to"]
    if not any(each.floor in approval.signatures for each in alive):
        below = f"below the floor of this machine, {floor}"
        return [f"{approval.version} is of generation {approval.generation}, {below}"]
    return []


def _moved(alive: Sequence[Sealed], values: Mapping[int, bytes]) -> list[str]:
    if not alive:
        return []
    return [
        f"PCR {pcr} ({_MEANING.get(pcr, 'firmware')}) differs from when the state was sealed"
        for pcr, value in alive[0].bound.items()
        if values.get(pcr) != value
    ]


def _whole(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError("a number of a sealed record")
    return value
