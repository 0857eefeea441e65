"""The public areas that our keys are made from, and must have: templates of the TPM 2.0 Library,
part 2, section 12.2 (TPMT_PUBLIC).

>>> ek_template() == ek_template(bytes(256))
True
"""

from __future__ import annotations

from .tpms import (
    AES,
    ATTRIBUTES,
    CFB,
    ECC,
    NULL,
    P256,
    RSA,
    SHA256,
    SIGNING_PARAMETERS,
    STORAGE_PARAMETERS,
)

_BORN_HERE = ("fixedTPM", "fixedParent", "sensitiveDataOrigin")
AK_ATTRIBUTES = (*_BORN_HERE, "userWithAuth", "noDA", "restricted", "sign")
CHANNEL_ATTRIBUTES = (*_BORN_HERE, "userWithAuth", "noDA", "sign")
EK_ATTRIBUTES = (*_BORN_HERE, "adminWithPolicy", "restricted", "decrypt")

# PolicySecret(TPM_RH_ENDORSEMENT): the policy of every EK made from a low-range template
# (TCG EK Credential Profile 2.5, annex B.3).
EK_POLICY = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")


def _area(kind: int, names: tuple[str, ...], policy: bytes, tail: bytes) -> bytes:
    attributes = sum(ATTRIBUTES[name] for name in names)
    head = kind.to_bytes(2, "big") + SHA256.to_bytes(2, "big") + attributes.to_bytes(4, "big")
    area = head + len(policy).to_bytes(2, "big") + policy + tail
    return len(area).to_bytes(2, "big") + area


def ak_template(x: bytes = b"", y: bytes = b"") -> bytes:
    """The TPM2B_PUBLIC that the AK is made from, or (with its point) the one it must have."""
    return _key_template(AK_ATTRIBUTES, x, y)


def _key_template(attributes: tuple[str, ...], x: bytes, y: bytes) -> bytes:
    parameters = b"".join(value.to_bytes(2, "big") for value, _ in SIGNING_PARAMETERS)
    point = b"".join(len(part).to_bytes(2, "big") + part for part in (x, y))
    return _area(ECC, attributes, b"", parameters + point)


def channel_template(x: bytes = b"", y: bytes = b"") -> bytes:
    """The TPM2B_PUBLIC that the key of the machine's TLS channel is made from, or the one it has
    with its point.
    """
    return _key_template(CHANNEL_ATTRIBUTES, x, y)


def storage_template() -> bytes:
    """The storage key that OpenSSL's provider (tpm2-openssl) takes for the parent of a key below
    the owner's hierarchy: ECC P-256 with AES-128.
    """
    names = (*_BORN_HERE, "userWithAuth", "noDA", "restricted", "decrypt")
    values = (AES, 128, CFB, NULL, P256, NULL, 0, 0)
    return _area(ECC, names, b"", b"".join(value.to_bytes(2, "big") for value in values))


def ek_template(modulus: bytes = bytes(256)) -> bytes:
    """Template L-1 of the TCG EK Credential Profile (RSA 2048), or the EK with this modulus."""
    parameters = b"".join(value.to_bytes(2, "big") for value, _ in STORAGE_PARAMETERS) + bytes(4)
    unique = len(modulus).to_bytes(2, "big") + modulus
    return _area(RSA, EK_ATTRIBUTES, EK_POLICY, parameters + unique)
