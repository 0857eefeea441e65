"""Which GPU shall hold what, from the entries of a configuration. PURE.

An entry names GPUs, all or some, perhaps of some kinds only, as in mig-parted's files; together
they must not say two things about one GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .partition import Want, Wish
from .place import Device


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: ``gpus`` by index, None for all; ``kinds`` are PCI device ids, empty for any."""

    gpus: tuple[int, ...] | None
    kinds: tuple[int, ...]
    wish: Wish


@dataclass(frozen=True, slots=True)
class Objection:
    """What is wrong with the entry of that number."""

    entry: int
    gpu: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Assigned:
    """The wish for each GPU, by index, and the entry that it comes from."""

    wishes: Mapping[int, Wish]
    entries: Mapping[int, int]
    objections: tuple[Objection, ...]


def assign(entries: Sequence[Entry], devices: Sequence[Device]) -> Assigned:
    """The wish for each GPU. An entry may apply to none, unless it names one that is not there."""
    wishes: dict[int, Wish] = {}
    origins: dict[int, int] = {}
    objections: list[Objection] = []
    present = {device.index: device for device in devices}
    for number, entry in enumerate(entries):
        named = present if entry.gpus is None else entry.gpus
        for index in dict.fromkeys(named):
            device = present.get(index)
            if device is None:
                objections.append(Objection(number, index, f"there is no GPU {index}"))
            elif entry.kinds and device.pci_device_id not in entry.kinds:
                continue
            elif index in origins:
                objections.append(Objection(number, index, f"GPU {index} has an entry already"))
            else:
                wishes[index] = entry.wish
                origins[index] = number
    if not wishes and not objections and entries:
        kinds = ", ".join(f"{device.pci_device_id:#010x} ({device.name})" for device in devices)
        objections.append(Objection(0, None, f"no entry applies to a GPU here: {kinds or 'none'}"))
    return Assigned(wishes, origins, tuple(objections))


def parse_entries(value: object) -> tuple[Entry, ...]:
    """Entries as they come over the wire. Raises ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError("at least one entry is needed")
    return tuple(_entry(each) for each in value)


def _entry(value: object) -> Entry:
    if not isinstance(value, dict):
        raise ValueError("an entry is an object")
    gpus, kinds, mig = value.get("gpus"), value.get("kinds") or [], value.get("mig")
    if gpus is not None and not _is_numbers(gpus):
        raise ValueError("gpus are indices")
    if not _is_numbers(kinds):
        raise ValueError("kinds are PCI device ids")
    if mig is not None and not isinstance(mig, bool):
        raise ValueError("mig is true or false")
    wants = value.get("instances")
    wants = [] if wants is None else wants
    if not isinstance(wants, list):
        raise ValueError("instances are a list")
    wish = Wish(tuple(_want(each) for each in wants), mig)
    return Entry(None if gpus is None else tuple(gpus), tuple(kinds), wish)


def _want(value: object) -> Want:
    if not isinstance(value, dict):
        raise ValueError("an instance is an object")
    profile, start = value.get("profile"), value.get("start")
    if not isinstance(profile, str) or not profile:
        raise ValueError("an instance has a profile")
    if start is not None and (not isinstance(start, int) or isinstance(start, bool)):
        raise ValueError("start is a memory slice")
    return Want(profile, start)


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, int) and not isinstance(each, bool) for each in value
    )
