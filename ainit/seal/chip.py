"""What sealing asks of the TPM: a counter that only rises, and a secret that it keeps for an image.

Nothing stays in the TPM but the counter. The storage key is the primary key of the owner hierarchy
by TCG's template, made anew each time, and what is sealed is kept by the caller.

Raw commands, as in ``linux.tpm_key``. Structures: TPM 2.0 Library, part 3, sections 12.1
(TPM2_Create), 12.2 (TPM2_Load), 12.3 (TPM2_LoadExternal), 12.7 (TPM2_Unseal), 20.1
(TPM2_VerifySignature), 23 (policies), 24.1 (TPM2_CreatePrimary) and 31 (NV indices).

    with Chip(Tpm()) as chip:
        blob = chip.seal(secret, policy)
        secret = chip.unseal(blob, grant)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from ..digest import sha256
from ..errors import RefusedError
from ..linux.tpm import (
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
from . import policies
from .approval import Grant
from .policies import COUNTER_BYTES, COUNTER_INDEX
from .session import HMAC_SESSION, POLICY_SESSION, Point, Session

_OWNER = u32(0x4000_0001)
_INDEX = u32(COUNTER_INDEX)
_ECC, _KEYEDHASH, _NULL, _AES, _CFB, _P256 = 0x0023, 0x0008, 0x0010, 0x0006, 0x0043, 0x0003
_ECDSA = 0x0018
# fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
_STORAGE = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 16 | 1 << 17
# fixedTPM, fixedParent, noDA. Without userWithAuth only the policy decides.
_SEALED = 1 << 1 | 1 << 4 | 1 << 10
# Codes of commands, and what errors call them.
_CREATE_PRIMARY = (0x131, "TPM2_CreatePrimary")
_CREATE = (0x153, "TPM2_Create")
_LOAD = (0x157, "TPM2_Load")
_LOAD_EXTERNAL = (0x167, "TPM2_LoadExternal")
_UNSEAL = (0x15E, "TPM2_Unseal")
_FLUSH = (0x165, "TPM2_FlushContext")
_VERIFY = (0x177, "TPM2_VerifySignature")
_POLICY_PCR = (0x17F, "TPM2_PolicyPCR")
_POLICY_NV = (0x149, "TPM2_PolicyNV")
_POLICY_AUTHORIZE = (0x16A, "TPM2_PolicyAuthorize")
_NV_DEFINE = (0x12A, "TPM2_NV_DefineSpace")
_NV_INCREMENT = (0x134, "TPM2_NV_Increment")
_NV_READ = (0x14E, "TPM2_NV_Read")
_NV_READ_PUBLIC = (0x169, "TPM2_NV_ReadPublic")
_GET_CAPABILITY = (0x17A, "TPM2_GetCapability")
_HANDLES = 1


class Chip:
    """One TPM for as long as the ``with`` block lasts. Raises TpmError."""

    def __init__(self, tpm: Tpm) -> None:
        self.tpm = tpm

    def __enter__(self) -> Self:
        self._storage, area = self._primary()
        self._storage_name = policies.public_name(area)
        self._point = _point(area)
        return self

    def __exit__(self, *_: object) -> None:
        self._flush(self._storage)

    # The counter.

    def counter(self) -> int | None:
        """Where the counter stands; None when there is none. Raises RefusedError for another."""
        body = u32(_HANDLES) + _INDEX + u32(1)
        found = Reader(self._run(NO_SESSIONS, _GET_CAPABILITY, body), "TPM2_GetCapability")
        found.take(5)
        if found.take(4) != u32(1) or found.take(4) != _INDEX:
            return None
        public = Reader(self._run(NO_SESSIONS, _NV_READ_PUBLIC, _INDEX), "TPM2_NV_ReadPublic")
        area = public.sized()
        if area == policies.counter_area(written=False):
            self._increment()
        elif area != policies.counter_area():
            raise RefusedError(f"NV index {COUNTER_INDEX:#x} is not the counter that it should be")
        body = _INDEX * 2 + session_area(EMPTY_PASSWORD) + u16(COUNTER_BYTES) + u16(0)
        answer = Reader(self._run(SESSIONS, _NV_READ, body), "TPM2_NV_Read")
        answer.take(4)
        return int.from_bytes(answer.sized(), "big")

    def make_counter(self) -> int:
        """The counter, made unless it is there. It begins above all that this TPM ever counted."""
        if (value := self.counter()) is not None:
            return value
        body = _OWNER + session_area(EMPTY_PASSWORD) + sized(b"")
        body += sized(policies.counter_area(written=False))
        self._run(SESSIONS, _NV_DEFINE, body)
        made = self.counter()
        assert made is not None  # it was defined just now
        return made

    def raise_counter(self, value: int) -> None:
        """Raise the counter until it stands at ``value``."""
        now = self.counter()
        if now is None:
            raise RefusedError("the counter is gone from the TPM")
        for _ in range(now, value):
            self._increment()

    def _increment(self) -> None:
        self._run(SESSIONS, _NV_INCREMENT, _INDEX * 2 + session_area(EMPTY_PASSWORD))

    # The secret.

    def seal(self, secret: bytes, policy: bytes) -> bytes:
        """The secret as only this TPM can open it, for a session that reaches ``policy``."""
        session = Session(self.tpm, self._storage, self._point, HMAC_SESSION)
        template = u16(_KEYEDHASH) + u16(SHA256) + u32(_SEALED) + sized(policy)
        template += u16(_NULL) + sized(b"")
        sensitive = sized(sized(b"") + sized(secret))
        rest = sized(template) + sized(b"") + u32(0)
        try:
            made = session.run(*_CREATE, self._storage, self._storage_name, sensitive, rest)
        except BaseException:
            session.flush()
            raise
        parts = Reader(made, _CREATE[1])
        private, public = parts.sized(), parts.sized()
        return sized(private) + sized(public)

    def unseal(self, blob: bytes, grant: Grant) -> bytes:
        """The secret. Raises TpmError when the policy is not met; ``decide`` says why."""
        with self._loaded(blob) as (handle, name):
            session = Session(self.tpm, self._storage, self._point, POLICY_SESSION)
            try:
                self._satisfy(session.handle, grant)
                answer = session.run(*_UNSEAL, handle, name, b"")
            except BaseException:
                session.flush()
                raise
        return Reader(answer, _UNSEAL[1]).sized()

    def _satisfy(self, session: bytes, grant: Grant) -> None:
        """Lead a policy session through what ``policies.sealing_policy`` describes."""
        approved = policies.after_pcrs(policies.EMPTY, self.tpm.read(grant.approved))
        self._policy_pcrs(session, grant.approved)
        reference = policies.floor_reference(grant.floor)
        area = policies.key_area(*grant.key)
        ticket = self._verify(area, sha256(approved + reference), grant.signature)
        body = session + sized(approved) + sized(reference)
        self._run(NO_SESSIONS, _POLICY_AUTHORIZE, body + sized(policies.public_name(area)) + ticket)
        operand = sized(grant.most.to_bytes(COUNTER_BYTES, "big"))
        body = _INDEX * 2 + session + session_area(EMPTY_PASSWORD) + operand
        self._run(SESSIONS, _POLICY_NV, body + u16(0) + u16(policies.UNSIGNED_LE))
        self._policy_pcrs(session, grant.bound)

    def _policy_pcrs(self, session: bytes, pcrs: tuple[int, ...]) -> None:
        self._run(NO_SESSIONS, _POLICY_PCR, session + sized(b"") + selection(pcrs))

    def _verify(self, area: bytes, digest: bytes, signature: tuple[int, int]) -> bytes:
        """The TPM's ticket for a signature that it checked."""
        loaded = self._run(NO_SESSIONS, _LOAD_EXTERNAL, u16(0) + sized(area) + _OWNER)
        handle = loaded[:4]
        try:
            r, s = (sized(number.to_bytes(32, "big")) for number in signature)
            body = handle + sized(digest) + u16(_ECDSA) + u16(SHA256) + r + s
            return self._run(NO_SESSIONS, _VERIFY, body)
        finally:
            self._flush(handle)

    @contextmanager
    def _loaded(self, blob: bytes) -> Iterator[tuple[bytes, bytes]]:
        body = self._storage + session_area(EMPTY_PASSWORD) + blob
        answer = Reader(self._run(SESSIONS, _LOAD, body), _LOAD[1])
        handle = answer.take(4)
        try:
            answer.take(4)
            yield handle, answer.sized()
        finally:
            self._flush(handle)

    def _primary(self) -> tuple[bytes, bytes]:
        template = u16(_ECC) + u16(SHA256) + u32(_STORAGE) + sized(b"")
        template += u16(_AES) + u16(128) + u16(_CFB) + u16(_NULL) + u16(_P256) + u16(_NULL)
        template += sized(b"") + sized(b"")
        body = _OWNER + session_area(EMPTY_PASSWORD) + sized(sized(b"") + sized(b""))
        body += sized(template) + sized(b"") + u32(0)
        answer = Reader(self._run(SESSIONS, _CREATE_PRIMARY, body), _CREATE_PRIMARY[1])
        handle = answer.take(4)
        answer.take(4)
        return handle, answer.sized()

    def _flush(self, handle: bytes) -> None:
        self._run(NO_SESSIONS, _FLUSH, handle)

    def _run(self, tag: int, what: tuple[int, str], body: bytes) -> bytes:
        code, name = what
        return self.tpm.run(command(tag, code, body), name)


def _point(area: bytes) -> Point:
    """The point at the end of the storage key's public area."""
    parts = Reader(area, _CREATE_PRIMARY[1])
    parts.take(8)
    parts.sized()
    parts.take(12)
    return int.from_bytes(parts.sized(), "big"), int.from_bytes(parts.sized(), "big")
