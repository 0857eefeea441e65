"""Whether a release is for this machine now, and what a boot means. PURE.

What somebody asks for by name is held to the floors, the hardware and the order of things; what the
machine does by itself also to the rollout, and to what failed here before.

>>> in_rollout("machine", "1.2.0", 100), in_rollout("machine", "1.2.0", 0)
(True, False)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..digest import sha256
from ..wire.codec import loads
from .history import INSTALLING, ROLLING_BACK, Floors, State
from .release import Release, order

# What a boot means for the update under way.
QUIET = "quiet"  # there is none
UNFINISHED = "unfinished"  # the other slot was being written: it has to be written anew
INSTALLED = "installed"  # it boots next
TRIAL = "trial"  # it runs, and has to show that it works
FELL_BACK = "fell-back"  # it was tried, and the release before runs again
ROLLED_BACK = "rolled-back"
MISSED = "missed"  # a rollback that did not happen

_SHORTEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What a release is judged for. ``failed`` are versions with the reason why they did not stay;
    ``pending`` is one that is installed and not committed.
    """

    identity: str
    image: str
    version: str
    floors: Floors = field(default_factory=Floors)
    failed: Mapping[str, str] = field(default_factory=dict)
    pending: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """A release on the boot partition, and how many tries it has left."""

    version: str
    left: int


def in_rollout(identity: str, version: str, percent: int) -> bool:
    """Whether a machine is among the first ``percent`` of all to get a version. Which those are is
    another for each version, and follows from SHA-256 of both.
    """
    digest = sha256(f"{identity}\0{version}".encode())
    return int.from_bytes(digest[:8], "big") * 100 < percent << 64


def hindrance(release: Release, rollout: int, machine: Machine, *, by_name: bool = False) -> str:
    """Why a release is not for this machine now; empty when it is."""
    version = release.version
    if release.image != machine.image:
        return f"{version} is for {release.image}, and this machine is {machine.image}"
    if machine.pending:
        return f"{machine.pending} is installed and not committed yet: nothing new until it is"
    if order(version) == order(machine.version):
        return f"{version} runs already"
    if below := under(version, release.data_format_floor, machine.floors):
        return below
    if by_name:
        return ""
    if order(version) < order(machine.version):
        return f"{version} is older than {machine.version}, which runs"
    if version in machine.failed:
        return (
            f"{version} did not stay here before: {machine.failed[version]};"
            f" `ainitctl update install {version}` tries it again"
        )
    if not in_rollout(machine.identity, version, rollout):
        return f"{version} is given to {rollout} % of the machines so far, and not to this one"
    return ""


def under(version: str, data_format: int, floors: Floors) -> str:
    """Why a release is below the floors; empty when it is not."""
    if order(version) < order(floors.version):
        return f"{version} is below the version floor of this machine, {floors.version}"
    if data_format < floors.data_format:
        return (
            f"{version} cannot read the state: it is of data format {data_format}, and the floor"
            f" of this machine is {floors.data_format}"
        )
    return ""


def raised(floors: Floors, version: str, data_format: int) -> Floors:
    """The floors once a release with these has shown that it works: no lower than before."""
    highest = version if order(version) > order(floors.version) else floors.version
    return Floors(highest, max(data_format, floors.data_format))


def meaning(state: State | None, running: str, boot: str) -> str:
    """What it means that ``running`` runs, in the boot with this ID."""
    if state is None:
        return QUIET
    if state.phase == INSTALLING:
        return UNFINISHED
    here = order(running) == order(state.version)
    if state.phase == ROLLING_BACK:
        return ROLLED_BACK if here else INSTALLED if state.boot == boot else MISSED
    if here:
        return TRIAL
    return INSTALLED if state.boot == boot else FELL_BACK


def why_fallen(state: State, slots: Sequence[Slot], crashes: Sequence[str]) -> str:
    """Why the release before runs again. ``crashes`` are their causes since the update, the newest
    first.
    """
    tried = [slot for slot in slots if order(slot.version) == order(state.version)]
    told = f"; {crashes[0]}" if crashes else ""
    if state.reason and state.boots:
        return f"{state.reason}{told if not tried or tried[0].left else ''}"
    if state.boots:
        return f"it ended before it was found healthy, {_times(state.boots)}{told}"
    if tried and tried[0].left:
        return f"the boot loader took another entry; it has {tried[0].left} tries left{told}"
    return f"the new kernel never reached ainit in any of its tries{told}"


def other(slots: Sequence[Slot], running: str) -> Slot | None:
    """The release beside the running one: the newest of those that are there."""
    others = [slot for slot in slots if order(slot.version) != order(running)]
    return max(others, key=lambda slot: order(slot.version), default=None)


def generation(approval: bytes) -> int:
    """The generation that an approval is for; 0 when it is none.

    >>> generation(b'{"generation": 2}'), generation(b"")
    (2, 0)
    """
    try:
        found = loads(approval)
    except ValueError:
        return 0
    number = found.get("generation") if isinstance(found, dict) else None
    return number if isinstance(number, int) else 0


def poll_delay(poll_s: float, jitter_s: float, failures: int, chance: float) -> float:
    """How long until the repository is asked again. After failures in a row sooner than otherwise,
    then ever later, up to the interval. ``chance`` is from 0 to 1.

    >>> poll_delay(3600, 600, 0, 0.5)
    3900.0
    >>> [poll_delay(3600, 0, failures, 0.5) for failures in (1, 2, 3, 9)]
    [90.0, 180.0, 360.0, 3600.0]
    """
    if not failures:
        return poll_s + jitter_s * chance
    pause = _SHORTEST_S * 2 ** min(failures - 1, 20) * (1 + chance)
    return float(min(pause, poll_s + jitter_s * chance))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
