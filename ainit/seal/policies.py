"""The arithmetic of TPM policies: what a policy digest is, from values alone. PURE.

A *policy digest* is a hash that a policy session builds up, one assertion after the other; an
object gives out its secret to a session that reached the digest in the object. The build computes
the digest that its image will reach and signs it; the machine seals to "whatever that key signed".

Structures: TPM 2.0 Library, part 1, sections 16 (names) and 19.7 (policies); part 2, sections 12.2
(TPMT_PUBLIC) and 13.5 (TPMS_NV_PUBLIC); part 3, sections 23.7 (PolicyPCR), 23.9 (PolicyNV) and
23.16 (PolicyAuthorize).

    approved = after_pcrs(EMPTY, {9: …, 11: …, 12: bytes(32)})
    signed = sign(approval(approved, floor=2))
    sealed_to = sealing_policy(public_name(key_area(x, y)), 2, counter_name(), 17, {7: …})
"""

from __future__ import annotations

from collections.abc import Mapping

from ..digest import sha256
from ..linux.tpm import SHA256, selection, sized, u16, u32

EMPTY = bytes(32)
COUNTER_INDEX = 0x01A1_0F10  # in the range that the registry leaves to the owner
COUNTER_BYTES = 8
_POLICY_PCR, _POLICY_NV, _POLICY_AUTHORIZE = 0x17F, 0x149, 0x16A
_ECC, _NULL, _ECDSA, _P256 = 0x0023, 0x0010, 0x0018, 0x0003
_USER_WITH_AUTH, _SIGN = 1 << 6, 1 << 18
# TPM_NT_COUNTER, authWrite, authRead, noDA; written, which is part of the name once it is.
_COUNTER, _WRITTEN = 1 << 4 | 1 << 2 | 1 << 18 | 1 << 25, 1 << 29
UNSIGNED_LE = 0x0009  # TPM_EO: the index holds at most the operand


def public_name(area: bytes) -> bytes:
    """The name of an object or of an NV index: the algorithm, and the hash of its public area."""
    return u16(SHA256) + sha256(area)


def key_area(x: int, y: int) -> bytes:
    """TPMT_PUBLIC of the key (on P-256) that signs policies."""
    area = u16(_ECC) + u16(SHA256) + u32(_USER_WITH_AUTH | _SIGN) + sized(b"")
    area += u16(_NULL) + u16(_ECDSA) + u16(SHA256) + u16(_P256) + u16(_NULL)
    return area + sized(x.to_bytes(32, "big")) + sized(y.to_bytes(32, "big"))


def counter_area(*, written: bool = True) -> bytes:
    """TPMS_NV_PUBLIC of the counter that anchors the floor, before or after its first increment."""
    attributes = _COUNTER | (_WRITTEN if written else 0)
    area = u32(COUNTER_INDEX) + u16(SHA256) + u32(attributes)
    return area + sized(b"") + u16(COUNTER_BYTES)


def after_pcrs(digest: bytes, values: Mapping[int, bytes]) -> bytes:
    """PolicyPCR: these PCRs hold these values."""
    held = sha256(b"".join(values[pcr] for pcr in sorted(values)))
    return sha256(digest + u32(_POLICY_PCR) + selection(values) + held)


def after_counter(digest: bytes, name: bytes, most: int) -> bytes:
    """PolicyNV: the counter of this name stands at ``most`` at the most."""
    operand = most.to_bytes(COUNTER_BYTES, "big")
    arguments = sha256(operand + u16(0) + u16(UNSIGNED_LE))
    return sha256(digest + u32(_POLICY_NV) + arguments + name)


def authorised(key_name: bytes, reference: bytes) -> bytes:
    """PolicyAuthorize: the key signed what the session reached so far. The digest begins anew."""
    return sha256(sha256(EMPTY + u32(_POLICY_AUTHORIZE) + key_name) + reference)


def floor_reference(floor: int) -> bytes:
    """The policyRef that says at which floor a signature counts."""
    return b"ainos floor %d" % floor


def approval(approved: bytes, floor: int) -> bytes:
    """What is signed so that an image may open the state of a machine at this floor."""
    return approved + floor_reference(floor)


def sealing_policy(
    key_name: bytes, floor: int, counter: bytes, most: int, values: Mapping[int, bytes]
) -> bytes:
    """The policy of a sealed key: an approved image, at this floor, while the counter has not
    passed it, on firmware of these PCRs.
    """
    digest = after_counter(authorised(key_name, floor_reference(floor)), counter, most)
    return after_pcrs(digest, values)
