"""Fill a slot with a release, and transfer only what the machine does not have.

    the prepared difference to what runs now     if the release brings one for it
    the block index                              copies what runs now has, asks for the rest
    the whole                                    if neither fits

Whatever was refused on the way is said, and the next one is tried. What comes out is checked
against the root hash of the release's manifest, block by block, and its UKI against its digest; the
hash tree is made here and never transferred. What an interrupted attempt has written is kept if it
is right. Leaves out what a slot is and when it is started from: see ``install``.

    filled = fill(trust, Wanted("stable", release), running, Slot(root, verity), staging, tell)
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..errors import RefusedError
from . import blocks, verity
from .filling import ROOT, Job, Running, Slot, Wanted, delta_name
from .ports import Files, Tell

MANIFEST = "manifest.json"
_MANIFEST_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Filled:
    """How a slot was filled: ``way`` is delta, blocks or whole, ``bytes`` were transferred for root
    and UKI; ``refused`` is what was tried before, with the reason; ``uki`` is the path of the UKI.
    """

    way: str
    bytes: int
    refused: tuple[str, ...]
    root_hash: str
    geometry: verity.Geometry
    uki: str


def fill(
    repository: Files, wanted: Wanted, running: Running, slot: Slot, staging: str, tell: Tell
) -> Filled:
    """Fill a slot. Raises RefusedError when no way led to what the manifest says; UnavailableError
    and OSError at once, for what came so far is gone on with.
    """
    root_hash, geometry = _described(repository, wanted)
    listed = wanted.release.files
    job = Job(repository, wanted, running, slot, staging, tell, geometry)
    ways = [
        ("delta", job.by_delta, delta_name(running.root_hash) in listed),
        ("blocks", job.by_blocks, blocks.FILE in listed),
        ("whole", job.whole, True),
    ]
    refused: list[str] = []
    for name, way, is_offered in ways:
        if not is_offered:
            continue
        try:
            transferred = way()
            job.check(root_hash)
        except RefusedError as error:
            refused.append(f"{name}: {error}")
        else:
            return Filled(name, transferred, tuple(refused), root_hash, geometry, job.uki)
    raise RefusedError("; ".join(refused))


def _described(repository: Files, wanted: Wanted) -> tuple[str, verity.Geometry]:
    """The root hash and the shape of a release's root, as its manifest says."""
    try:
        record = json.loads(repository.small(wanted.target(MANIFEST), _MANIFEST_MAX))["root"]
        geometry = verity.Geometry(int(record["data_blocks"]), bytes.fromhex(record["salt"]))
        root_hash = str(record["hash"])
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"{MANIFEST}: {error!r}") from error
    if geometry.blocks * verity.BLOCK != wanted.release.files[ROOT].size:
        raise RefusedError(f"{MANIFEST} and {ROOT} are not of one size")
    return root_hash, geometry
