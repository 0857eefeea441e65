"""The key holder's word for one image: which PCRs it will have, and at which floors it may open.

One JSON file for each image, in the release's manifest and beside the image on the boot partition.
It needs no protection: a signature that does not hold opens nothing. The *generation* is the number
that a release raises when those before it must not run any more; the *floor* of a machine is the
lowest generation that may open its state. An image of generation g is signed for the floors 1 to g.

    approval = parse(data, "ainos_0.1.0.seal.json"); approval.signatures[2]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import ConfigError, Finding
from ..wire.codec import dumps, loads
from . import policies

SUFFIX = ".seal.json"
BYTES_MAX = 64 * 1024
GENERATIONS = 256  # as many floors as there may be signatures for
# The PCRs that the build predicts. The others change with firmware, or are bound to on the spot.
PREDICTED = (9, 11, 12)
_SCHEMA = 1
_HASH_BYTES = 32

Signature = tuple[int, int]  # ECDSA: r, s


@dataclass(frozen=True, slots=True)
class Approval:
    """What one image may do: ``signatures`` by floor, of ``key``, over its ``pcrs``."""

    version: str
    generation: int
    key: tuple[int, int]
    pcrs: Mapping[int, bytes]
    signatures: Mapping[int, Signature]

    def to_record(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "schema": _SCHEMA,
            "version": self.version,
            "generation": self.generation,
            "key": [_hex(number) for number in self.key],
            "pcrs": {str(pcr): value.hex() for pcr, value in sorted(self.pcrs.items())},
            "signatures": {
                str(floor): [_hex(number) for number in pair]
                for floor, pair in sorted(self.signatures.items())
            },
        }

    def to_bytes(self) -> bytes:
        """The file."""
        return dumps(self.to_record()).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Grant:
    """What opens a sealed secret: the key's word that these PCRs may, at a floor; the counter's
    limit; and the PCRs of the firmware as they were when it was sealed.
    """

    key: tuple[int, int]
    signature: Signature
    approved: tuple[int, ...]  # PCRs
    floor: int
    most: int
    bound: tuple[int, ...]  # PCRs


def approve(
    version: str,
    generation: int,
    key: tuple[int, int],
    pcrs: Mapping[int, bytes],
    sign: Callable[[bytes], Signature],
) -> Approval:
    """The approval of an image; ``sign`` signs with ECDSA and SHA-256."""
    if not 1 <= generation <= GENERATIONS:
        raise ValueError(f"a generation is a number from 1 to {GENERATIONS}, not {generation}")
    chosen = {pcr: pcrs[pcr] for pcr in PREDICTED}
    reached = policies.after_pcrs(policies.EMPTY, chosen)
    floors = range(1, generation + 1)
    signatures = {floor: sign(policies.approval(reached, floor)) for floor in floors}
    return Approval(version, generation, key, chosen, signatures)


def parse(data: bytes, file: str) -> Approval:
    """The approval in a file. Raises ConfigError, which names the file."""
    try:
        if len(data) > BYTES_MAX:
            raise ValueError(f"longer than {BYTES_MAX} bytes")
        return from_record(loads(data))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError([Finding(file, 1, f"is no approval of an image: {error}")]) from error


def from_record(record: object) -> Approval:
    """The approval in a JSON value. Raises ValueError, TypeError or KeyError."""
    if not isinstance(record, dict) or record["schema"] != _SCHEMA:
        raise ValueError(f"not of schema {_SCHEMA}")
    found = Approval(
        version=str(record["version"]),
        generation=int(record["generation"]),
        key=_pair(record["key"]),
        pcrs={int(pcr): bytes.fromhex(value) for pcr, value in record["pcrs"].items()},
        signatures={int(floor): _pair(pair) for floor, pair in record["signatures"].items()},
    )
    if tuple(sorted(found.pcrs)) != PREDICTED or any(
        len(value) != _HASH_BYTES for value in found.pcrs.values()
    ):
        raise ValueError(f"it is not about PCRs {', '.join(map(str, PREDICTED))}")
    if set(found.signatures) - set(range(1, GENERATIONS + 1)):
        raise ValueError("it is signed for floors that there cannot be")
    return found


def _pair(value: list[str]) -> tuple[int, int]:
    first, second = (int(text, 16) for text in value)
    if not all(0 <= number < 1 << 8 * _HASH_BYTES for number in (first, second)):
        raise ValueError("a number has more than 256 bits")
    return first, second


def _hex(number: int) -> str:
    return f"{number:064x}"
