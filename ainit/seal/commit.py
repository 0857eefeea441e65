"""Raise the floor, once an image has shown that it works, as far as every image can follow.

The boot partition says which images there are. One that has no approval, or is approved for lower
floors only, holds the floor down: it may be what the machine falls back to.
"""

from __future__ import annotations

import os

from ..child import esp
from ..linux.luks import Volume
from ..linux.tpm import Tpm
from .approval import SUFFIX, Approval
from .chip import Chip
from .decide import holding, raised
from .report import Report
from .unlock import approvals
from .vault import records


def commit(report: Report) -> str:
    """Raise the floor of an open state; returns what was done. Raises AinosError or OSError."""
    with esp.mounted() as boot:
        known = images(boot)
    with Volume(report.device) as volume, Chip(Tpm()) as chip:
        volume.load()
        sealed = (record for _, record in records(volume).values())
        alive, now = holding(sealed, chip.counter())
        if not alive:
            return "the floor cannot be raised: nothing in the header opens at it"
        floor, held = raised(alive, known, now)
        chip.raise_counter(alive[0].base + floor)
    why = f"; {', '.join(held)}" if held else ""
    return f"the floor is {floor}{why}"


def images(boot: str) -> dict[str, Approval | None]:
    """Every image on a mounted boot partition, with its approval."""
    known, _ = approvals(boot)
    names = [name for name in os.listdir(f"{boot}/{esp.IMAGES}") if name.endswith(".efi")]
    return {name: known.get(stem(name) + SUFFIX) for name in names}


def stem(name: str) -> str:
    """The name of an image without its tries.

    >>> stem("ainos_0.1.0+2-1.efi")
    'ainos_0.1.0'
    """
    return name.removesuffix(".efi").partition("+")[0]
