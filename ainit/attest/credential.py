"""MakeCredential in software: a secret that only the TPM with this EK and this AK can recover.

TPM 2.0 Library, part 1, section 24 (credential protection), annex B.10.4 (RSA secret sharing) and
section 11.4.10.2 (KDFa), for an RSA 2048 EK with AES-128-CFB and SHA-256. The TPM's answer, the
secret, shows that the AK lives in the TPM that holds the private EK. The caller supplies all
randomness but the padding of RSA-OAEP.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SEED_BYTES = 32


def derive(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """KDFa with HMAC-SHA256 for keys of at most one block (256 bits)."""
    message = (1).to_bytes(4, "big") + label + b"\0" + context + bits.to_bytes(4, "big")
    return hmac.digest(key, message, "sha256")[: bits // 8]


def _feedback(key: bytes, data: bytes) -> bytes:
    """AES in CFB mode with a zero IV; written on ECB because libraries retire CFB."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    before, out = bytes(16), b""
    for start in range(0, len(data), 16):
        part = data[start : start + 16]
        before = bytes(a ^ b for a, b in zip(part, block.update(before), strict=False))
        out += before
    return out


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def make_credential(
    ek: rsa.RSAPublicKey, ak_name: bytes, secret: bytes, seed: bytes
) -> tuple[bytes, bytes]:
    """The TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET for TPM2_ActivateCredential.

    ``secret`` has at most 32 bytes, ``seed`` exactly SEED_BYTES; both fresh and random.
    """
    if len(secret) > hashlib.sha256().digest_size or len(seed) != SEED_BYTES:
        raise ValueError("a secret of at most 32 bytes and a seed of exactly 32 are needed")
    identity = _feedback(derive(seed, b"STORAGE", ak_name, 128), _sized(secret))
    integrity = hmac.digest(derive(seed, b"INTEGRITY", b"", 256), identity + ak_name, "sha256")
    oaep = padding.OAEP(
        mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=b"IDENTITY\0"
    )
    return _sized(_sized(integrity) + identity), _sized(ek.encrypt(seed, oaep))
