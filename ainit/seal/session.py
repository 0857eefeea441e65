"""A session with the TPM that nobody on its bus can listen to.

Its key comes from a secret that only the TPM can recover (ECDH with its storage key), so what is
sealed and unsealed crosses the bus masked. This meets a listener. Somebody who also answers in the
TPM's place is met only as far as the storage key is the TPM's own: it is asked for anew each time.

Structures: TPM 2.0 Library, part 1, sections 11.4.10 (KDFa, KDFe), 19.6 (sessions, their keys and
HMACs) and 21.2 (XOR obfuscation), annex C.6 (secret sharing with ECC).
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import TpmError
from ..linux.tpm import (
    NO_SESSIONS,
    SESSIONS,
    SHA256,
    Tpm,
    command,
    session_area,
    sized,
    u16,
    u32,
)

HMAC_SESSION, POLICY_SESSION = 0, 1
_START_SESSION, _FLUSH = 0x176, 0x165
_NULL_HANDLE = u32(0x4000_0007)
_XOR = 0x000A
_NONCE_BYTES = 32
_DECRYPT, _ENCRYPT = 0x20, 0x40

Point = tuple[int, int]


def kdfa(key: bytes, label: bytes, first: bytes, second: bytes, size: int) -> bytes:
    """``size`` bytes from a key (SP 800-108 in counter mode)."""
    mask = b""
    for number in range(1, -(-size // 32) + 1):
        text = u32(number) + label + b"\0" + first + second + u32(size * 8)
        mask += hmac.digest(key, text, "sha256")
    return mask[:size]


def kdfe(shared: bytes, label: bytes, ours: bytes, theirs: bytes) -> bytes:
    """32 bytes from a shared point (SP 800-56A)."""
    return sha256(u32(1) + shared + label + b"\0" + ours + theirs).digest()


def _masked(data: bytes, key: bytes, newer: bytes, older: bytes) -> bytes:
    mask = kdfa(key, b"XOR", newer, older, len(data))
    return bytes(one ^ other for one, other in zip(data, mask, strict=True))


class Session:
    """One session, salted with the key ``salting`` at ``point``. Raises TpmError."""

    def __init__(self, tpm: Tpm, salting: bytes, point: Point, kind: int) -> None:
        self._tpm = tpm
        self._ours = os.urandom(_NONCE_BYTES)
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        numbers = ephemeral.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        try:
            peer = ec.EllipticCurvePublicNumbers(*point, ec.SECP256R1()).public_key()
        except ValueError as error:
            raise TpmError("the TPM's storage key is no point of its curve") from error
        shared = ephemeral.exchange(ec.ECDH(), peer)
        salt = kdfe(shared, b"SECRET", x, point[0].to_bytes(32, "big"))
        body = salting + _NULL_HANDLE + sized(self._ours) + sized(sized(x) + sized(y))
        body += bytes((kind,)) + u16(_XOR) + u16(SHA256) + u16(SHA256)
        answer = tpm.run(command(NO_SESSIONS, _START_SESSION, body), "TPM2_StartAuthSession")
        self.handle, self._theirs = answer[:4], answer[6:]
        self._key = kdfa(salt, b"ATH", self._theirs, self._ours, 32)

    def flush(self) -> None:
        """Forget it, unless its last command has done so."""
        try:
            self._tpm.run(command(NO_SESSIONS, _FLUSH, self.handle), "TPM2_FlushContext")
        except TpmError:
            pass

    def run(
        self, code: int, what: str, handle: bytes, name: bytes, secret: bytes, rest: bytes = b""
    ) -> bytes:
        """Run a command on one object with this session as its authority, for the last time.

        ``secret``, a TPM2B, goes masked when there is one; else the answer's first TPM2B comes
        masked. Returns the parameters of the answer.
        """
        attributes = _DECRYPT if secret else _ENCRYPT
        self._ours = os.urandom(_NONCE_BYTES)
        if secret:
            hidden = _masked(secret[2:], self._key, self._ours, self._theirs)
            secret = secret[:2] + hidden
        parameters = secret + rest
        digest = sha256(u32(code) + name + parameters).digest()
        proof = self._proof(digest, self._ours, self._theirs, attributes)
        area = self.handle + sized(self._ours) + bytes((attributes,)) + sized(proof)
        answer = self._tpm.run(
            command(SESSIONS, code, handle + session_area(area) + parameters), what
        )
        return self._opened(code, what, answer, masked=attributes == _ENCRYPT)

    def _opened(self, code: int, what: str, answer: bytes, *, masked: bool) -> bytes:
        size = int.from_bytes(answer[:4], "big")
        parameters, tail = answer[4 : 4 + size], answer[4 + size :]
        if len(parameters) != size or len(tail) != 2 + _NONCE_BYTES + 1 + 2 + 32:
            raise TpmError(f"{what}: the TPM's response is malformed")
        self._theirs = tail[2 : 2 + _NONCE_BYTES]
        attributes = tail[2 + _NONCE_BYTES]
        digest = sha256(u32(0) + u32(code) + parameters).digest()
        proof = self._proof(digest, self._theirs, self._ours, attributes)
        if not hmac.compare_digest(proof, tail[-32:]):
            raise TpmError(f"{what}: the response was altered on its way from the TPM")
        if masked:
            end = 2 + int.from_bytes(parameters[:2], "big")
            clear = _masked(parameters[2:end], self._key, self._theirs, self._ours)
            parameters = parameters[:2] + clear + parameters[end:]
        return parameters

    def _proof(self, digest: bytes, newer: bytes, older: bytes, attributes: int) -> bytes:
        return hmac.digest(self._key, digest + newer + older + bytes((attributes,)), "sha256")
