"""The machine's signature over what it admitted, so that the next boot need not read it all again.

The *admission statement* binds what a publisher signed to the fs-verity digest of the file that was
verified against it. The key lives in the TPM and signs only while the machine runs the very image
that verified (``linux.tpm_key``). Whoever replaces model, note and verity metadata together, with
the machine off, cannot sign the statement; the model is then verified as if it had just come. So it
is after an update of the image, once, and always on a machine without a TPM.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from ..errors import TpmError
from ..linux.tpm import Tpm
from ..linux.tpm_key import MachineKey
from ..wire.codec import canonical
from .records import Admitted

_TYPE = "ainos-admission-1"
_LABEL = b"ainos admission"


def statement(name: str, note: Admitted) -> bytes:
    """What is signed: the name, the object, and the digests of record and publisher's signature."""
    return canonical(
        {
            "type": _TYPE,
            "name": name,
            "object": note.object,
            "record": sha256(note.record.encode()).hexdigest(),
            "signature": sha256(note.signature.encode()).hexdigest(),
        }
    )


class Seal(Protocol):
    """What the store needs of the machine's key."""

    def make(self, text: bytes) -> str:
        """The signature over a statement in hexadecimal; empty when the machine has no key."""
        ...

    def holds(self, text: bytes, signature: str) -> bool:
        """Whether this machine, running what it runs now, signed the statement."""
        ...


class NoSeal:
    """A machine that cannot sign: everything is verified at every boot."""

    def make(self, text: bytes) -> str:
        """See Seal."""
        return ""

    def holds(self, text: bytes, signature: str) -> bool:
        """See Seal."""
        return False


class TpmSeal:
    """The key in the TPM. Raises TpmError when there is no TPM, or it does not make the key."""

    def __init__(self, tpm: Tpm) -> None:
        self._tpm = tpm
        with MachineKey(tpm, _LABEL) as key:
            self._key = ec.EllipticCurvePublicNumbers(*key.point, ec.SECP256R1()).public_key()

    def make(self, text: bytes) -> str:
        """See Seal. A TPM that fails now leaves the statement unsigned, which costs time later."""
        try:
            with MachineKey(self._tpm, _LABEL) as key:
                return utils.encode_dss_signature(*key.sign(sha256(text).digest())).hex()
        except TpmError:
            return ""

    def holds(self, text: bytes, signature: str) -> bool:
        """See Seal."""
        try:
            self._key.verify(bytes.fromhex(signature), text, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True


def open_seal() -> Seal:
    """The key of this machine, or none."""
    try:
        return TpmSeal(Tpm())
    except TpmError:
        return NoSeal()
