"""A key of this machine that signs only while the machine runs what it runs now.

It is a primary key of the owner hierarchy: the TPM derives it anew from its seed and from the
template, so it is kept nowhere and nobody can put another in its place. The template's policy is
the values of the PCRs that firmware and loader filled: after another boot path the TPM still
derives the key and refuses to sign with it, and our system, whose values are others then, asks for
another key. An update of the system therefore changes the key, too.

Raw commands as in ``tpm``, because a TSS takes longer to load than all else at boot. Structures:
TPM 2.0 Library, part 2, sections 11.1 (TPMT_SYM_DEF) and 12.2 (TPMT_PUBLIC); part 3, sections 11.1
(TPM2_StartAuthSession), 20.2 (TPM2_Sign), 23.7 (TPM2_PolicyPCR), 24.1 (TPM2_CreatePrimary) and 28.4
(TPM2_FlushContext).

    with MachineKey(Tpm(), b"ainos admission") as key:
        x, y = key.point
        r, s = key.sign(sha256(b"text"))
"""

from __future__ import annotations

from ..digest import sha256
from ..errors import TpmError
from .tpm import (
    EMPTY_PASSWORD,
    NO_SESSIONS,
    SESSIONS,
    SHA256,
    Reader,
    Tpm,
    command,
    selection,
    session_area,
    sized,
    u16,
    u32,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

# Loader and kernel image, Secure Boot, what the loader passed on, the image's parts.
PCRS = (4, 7, 9, 11)
_CREATE_PRIMARY, _SIGN, _FLUSH = 0x131, 0x15D, 0x165
_START_SESSION, _POLICY_PCR = 0x176, 0x17F
_OWNER, _NULL_HANDLE = 0x40000001, 0x40000007
_ECC, _NULL, _ECDSA, _P256 = 0x0023, 0x0010, 0x0018, 0x0003
_HASHCHECK = 0x8024
_POLICY_SESSION = 1
# fixedTPM, fixedParent, sensitiveDataOrigin, noDA, sign. Without userWithAuth the policy decides.
_ATTRIBUTES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 10 | 1 << 18


def policy(values: dict[int, bytes]) -> bytes:
    """The policy digest of PolicyPCR over these values, by PCR (part 3, section 23.7.1)."""
    digest = sha256(b"".join(values[pcr] for pcr in sorted(values)))
    return sha256(bytes(32) + u32(_POLICY_PCR) + selection(values) + digest)


def template(label: bytes, authorised: bytes) -> bytes:
    """The TPM2B_PUBLIC that the key is derived from. ``label`` (32 bytes at most) is its use."""
    area = u16(_ECC) + u16(SHA256) + u32(_ATTRIBUTES) + sized(authorised)
    area += u16(_NULL) + u16(_ECDSA) + u16(SHA256) + u16(_P256) + u16(_NULL)
    return sized(area + sized(label) + sized(b""))


class MachineKey:
    """The key for one use. Leaving the ``with`` block forgets it. Raises TpmError."""

    def __init__(self, tpm: Tpm, label: bytes) -> None:
        self._tpm = tpm
        authorised = policy(tpm.read(PCRS))
        self._handle, self.point = self._create(template(label, authorised))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush(self._handle)

    def sign(self, digest: bytes) -> tuple[int, int]:
        """The ECDSA signature (r, s) over a SHA-256 digest."""
        session = self._session()
        try:
            self._run(NO_SESSIONS, _POLICY_PCR, session + sized(b"") + selection(PCRS))
            authorisation = session + sized(b"") + b"\0" + sized(b"")
            ticket = u16(_HASHCHECK) + u32(_NULL_HANDLE) + sized(b"")
            body = self._handle + session_area(authorisation)
            body += sized(digest) + u16(_NULL) + ticket
            answer = Reader(self._run(SESSIONS, _SIGN, body), "TPM2_Sign")
        except BaseException:
            self._flush(session)  # after a signature the TPM forgets it by itself
            raise
        answer.take(4)
        if (answer.number(2), answer.number(2)) != (_ECDSA, SHA256):
            raise TpmError("TPM2_Sign answered with another kind of signature")
        return int.from_bytes(answer.sized(), "big"), int.from_bytes(answer.sized(), "big")

    def _create(self, public: bytes) -> tuple[bytes, tuple[int, int]]:
        sensitive = sized(sized(b"") + sized(b""))
        body = u32(_OWNER) + session_area(EMPTY_PASSWORD)
        body += sensitive + public + sized(b"") + u32(0)
        answer = Reader(self._run(SESSIONS, _CREATE_PRIMARY, body), "TPM2_CreatePrimary")
        handle = answer.take(4)
        try:
            answer.take(4)
            area = Reader(answer.sized(), "TPM2_CreatePrimary")
            area.take(8)
            area.sized()
            area.take(10)
            return handle, (
                int.from_bytes(area.sized(), "big"),
                int.from_bytes(area.sized(), "big"),
            )
        except BaseException:
            self._flush(handle)
            raise

    def _session(self) -> bytes:
        body = u32(_NULL_HANDLE) * 2 + sized(bytes(16)) + sized(b"")
        body += bytes((_POLICY_SESSION,)) + u16(_NULL) + u16(SHA256)
        return self._run(NO_SESSIONS, _START_SESSION, body)[:4]

    def _flush(self, handle: bytes) -> None:
        self._run(NO_SESSIONS, _FLUSH, handle)

    def _run(self, tag: int, code: int, body: bytes) -> bytes:
        return self._tpm.run(command(tag, code, body), _NAMES[code])


_NAMES = {
    _CREATE_PRIMARY: "TPM2_CreatePrimary",
    _SIGN: "TPM2_Sign",
    _FLUSH: "TPM2_FlushContext",
    _START_SESSION: "TPM2_StartAuthSession",
    _POLICY_PCR: "TPM2_PolicyPCR",
}
