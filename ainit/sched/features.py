"""What the placement policy sees of a candidate. PURE, and the same code in training and service.

All features lie in 0..1. ``SCHEMA`` is a digest over their names and meaning: a policy carries the
one it was fitted to in its metadata, and is refused when it differs.
"""

from __future__ import annotations

import hashlib

from ..wire.codec import canonical
from .place import Device, Proposal, stranded

SLICES = 8  # of the largest board; a smaller one shows the rest as occupied
COMPUTE = 7

NAMES = (
    *(f"slice{index}_after" for index in range(SLICES)),  # 1: occupied, were this done
    *(f"slice{index}_taken" for index in range(SLICES)),  # 1: what this would occupy
    "stranded_before",  # free slices that an average profile cannot use, of SLICES
    "stranded_after",
    "free_after",  # of SLICES
    "opens_gpu",  # 1: the GPU is empty now
    "compute",  # compute slices, of COMPUTE
    "slices",  # memory slices of the board, of SLICES
)
SCHEMA = hashlib.sha256(
    canonical({"features": list(NAMES), "range": [0, 1], "version": 1})
).hexdigest()


def describe(proposal: Proposal, device: Device) -> list[float]:
    """The features of placing ``proposal`` on ``device``, in the order of ``NAMES``."""
    beyond = -1 << device.slices
    before = device.occupied | beyond
    after = before | proposal.mask
    offered = device.profile(proposal.profile)
    free = device.slices - (device.occupied | proposal.mask).bit_count()
    return [
        *(float(after >> index & 1) for index in range(SLICES)),
        *(float(proposal.mask >> index & 1) for index in range(SLICES)),
        stranded(device, device.occupied) / SLICES,
        stranded(device, device.occupied | proposal.mask) / SLICES,
        max(free, 0) / SLICES,
        float(not device.occupied),
        (offered.compute if offered else 0) / COMPUTE,
        device.slices / SLICES,
    ]
