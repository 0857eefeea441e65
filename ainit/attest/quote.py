"""The TPM's part of attestation, on tpm2-pytss (the only module that imports it).

Two keys, both primaries of the endorsement hierarchy and so the same on every boot: the EK of the
manufacturer's template (the persistent one where there is one, because a chip needs seconds to make
an RSA key), and the AK, a restricted ECC P-256 signing key, which is made persistent when it is
first used, or anew each time where that cannot be. All else is flushed, so this works with and
without a resource manager. Raises TpmError for whatever the TPM refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Self

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TPM2_ALG,
    TPM2_RC,
    TPM2_RH,
    TPM2_SE,
    TPM2_ST,
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_ID_OBJECT,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPML_DIGEST_VALUES,
    TPML_PCR_SELECTION,
    TPMT_HA,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF,
    TPMT_TK_HASHCHECK,
    TPMU_HA,
    TSS2_Exception,
)

from ..errors import TpmError
from .templates import ak_template, channel_template, ek_template, storage_template
from .tpms import MalformedError, lower_signature, parse_public

EK_CERTIFICATE_INDEX = 0x01C00002  # RSA 2048 (TCG EK Credential Profile, section 2.2.1.4)
EK_HANDLE = 0x81010001  # where manufacturers keep it (the same profile, section 2.2.2.1)
AK_HANDLE = 0x81008A01  # of Linux's range (TCG Registry of Reserved TPM 2.0 Handles, 2.3.1)
_NV_CHUNK = 512  # every TPM reads this much of an index at once
_PCRS_AT_ONCE = 8


class AttestationTpm:
    """One TPM, opened for the length of a ``with`` block. ``tcti`` is a TSS transport string."""

    def __init__(self, tcti: str) -> None:
        with _wrapped(f"no TPM at {tcti}"):
            self._esys = ESAPI(tcti)
        self._ak: tuple[ESYS_TR, bytes] | None = None
        self._made_ak: ESYS_TR | None = None  # the AK, when it is not persistent

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._made_ak is not None:
                self._flush(self._made_ak)
        finally:
            self._esys.close()

    def pcr_values(self, pcrs: Iterable[int]) -> dict[int, bytes]:
        """The values of these PCRs in the SHA-256 bank."""
        wanted = sorted(pcrs)
        values: dict[int, bytes] = {}
        for start in range(0, len(wanted), _PCRS_AT_ONCE):
            part = wanted[start : start + _PCRS_AT_ONCE]
            with _wrapped("reading PCRs"):
                _, _, digests = self._esys.pcr_read(_selection(*part))
                found = [bytes(digest) for digest in digests]
            if len(found) != len(part):
                raise TpmError(f"the TPM has no SHA-256 bank for the PCRs {part}")
            values.update(zip(part, found, strict=True))
        return values

    def bind(self, pcr: int, digest: bytes) -> None:
        """Reset a PCR that software can reset, and extend this SHA-256 digest into it."""
        handle = ESYS_TR(ESYS_TR.PCR0 + pcr)
        value = TPMT_HA(hashAlg=TPM2_ALG.SHA256, digest=TPMU_HA(sha256=digest))
        with _wrapped(f"binding data in PCR {pcr}"):
            self._esys.pcr_reset(handle)
            self._esys.pcr_extend(handle, TPML_DIGEST_VALUES([value]))

    def endorsement(self) -> tuple[bytes, bytes]:
        """The EK as TPM2B_PUBLIC, and its certificate (DER; empty when the TPM holds none)."""
        with self._endorsement_key() as (_, public):
            return public, self.endorsement_certificate()

    def attestation_key(self) -> bytes:
        """The AK as TPM2B_PUBLIC."""
        return self._attestation_key()[1]

    def quote(self, nonce: bytes, pcrs: Iterable[int]) -> tuple[bytes, bytes]:
        """A quote of the AK over these PCRs: TPMS_ATTEST and TPMT_SIGNATURE (lower s)."""
        handle, _ = self._attestation_key()
        with _wrapped("TPM2_Quote"):
            chosen = _selection(*sorted(pcrs))
            message, signature = self._esys.quote(handle, chosen, TPM2B_DATA(nonce))
            return bytes(message), lower_signature(signature.marshal())

    def activate(self, credential: bytes, secret: bytes) -> bytes:
        """What a credential made for this EK and this AK holds (TPM2_ActivateCredential).

        ``credential`` is a TPM2B_ID_OBJECT, ``secret`` a TPM2B_ENCRYPTED_SECRET, with their sizes.
        """
        ak, _ = self._attestation_key()
        with (
            self._endorsement_key() as (ek, _),
            _wrapped("TPM2_ActivateCredential"),
            self._endorsement_session() as session,
        ):
            recovered = self._esys.activate_credential(
                ak,
                ek,
                TPM2B_ID_OBJECT.unmarshal(credential)[0],
                TPM2B_ENCRYPTED_SECRET.unmarshal(secret)[0],
                session1=ESYS_TR.PASSWORD,
                session2=session,
            )
            return bytes(recovered)

    def make_channel_key(self) -> tuple[bytes, bytes]:
        """A new key for TLS below the owner's storage key: TPM2B_PUBLIC and TPM2B_PRIVATE, which
        nothing but this TPM can use.
        """
        template = TPM2B_PUBLIC.unmarshal(channel_template())[0]
        with self._storage_key() as parent, _wrapped("TPM2_Create"):
            private, public, *_ = self._esys.create(parent, TPM2B_SENSITIVE_CREATE(), template)
            return public.marshal(), private.marshal()

    def holds(self, public: bytes, private: bytes) -> bool:
        """Whether such a key is of this TPM; to another, or a cleared one, it is altered."""
        try:
            with self._loaded(public, private):
                return True
        except TpmError as error:
            cause = error.__cause__
            if isinstance(cause, TSS2_Exception) and cause.error == TPM2_RC.INTEGRITY:
                return False
            raise

    def sign(self, public: bytes, private: bytes, digest: bytes) -> bytes:
        """The TPMT_SIGNATURE (lower s) of such a key over a SHA-256 digest."""
        with self._loaded(public, private) as key, _wrapped("TPM2_Sign"):
            scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
            ticket = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)
            signature = self._esys.sign(key, TPM2B_DIGEST(digest), scheme, ticket)
            return lower_signature(signature.marshal())

    def certify(self, public: bytes, private: bytes, nonce: bytes) -> tuple[bytes, bytes]:
        """The AK's word that this TPM holds such a key: TPMS_ATTEST and TPMT_SIGNATURE."""
        ak, _ = self._attestation_key()
        with self._loaded(public, private) as key, _wrapped("TPM2_Certify"):
            scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
            message, signature = self._esys.certify(key, ak, TPM2B_DATA(nonce), scheme)
            return bytes(message), lower_signature(signature.marshal())

    @contextmanager
    def _loaded(self, public: bytes, private: bytes) -> Iterator[ESYS_TR]:
        with self._storage_key() as parent, _wrapped("TPM2_Load"):
            area = TPM2B_PUBLIC.unmarshal(public)[0]
            handle = self._esys.load(parent, TPM2B_PRIVATE.unmarshal(private)[0], area)
        try:
            yield handle
        finally:
            self._flush(handle)

    @contextmanager
    def _storage_key(self) -> Iterator[ESYS_TR]:
        handle, _ = self._create(storage_template(), ESYS_TR.OWNER)
        try:
            yield handle
        finally:
            self._flush(handle)

    @contextmanager
    def _endorsement_session(self) -> Iterator[ESYS_TR]:
        """A session that satisfies the EK's policy: authority over the endorsement hierarchy."""
        session = self._esys.start_auth_session(
            ESYS_TR.NONE,
            ESYS_TR.NONE,
            TPM2_SE.POLICY,
            TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL),
            TPM2_ALG.SHA256,
        )
        try:
            self._esys.policy_secret(ESYS_TR.ENDORSEMENT, session, b"", b"", b"", 0)
            yield session
        finally:
            self._esys.flush_context(session)

    def _attestation_key(self) -> tuple[ESYS_TR, bytes]:
        if self._ak is None:
            self._ak = self._kept_attestation_key() or self._new_attestation_key()
        return self._ak

    def _kept_attestation_key(self) -> tuple[ESYS_TR, bytes] | None:
        """The persistent AK; another key there is left alone, and not used."""
        try:
            handle = self._esys.tr_from_tpmpublic(AK_HANDLE)
            area, _, qualified = self._esys.read_public(handle)
            public = area.marshal()
            key = parse_public(public)
        except (TSS2_Exception, MalformedError):
            return None
        is_ours = key.point is not None and ak_template(*key.point) == public
        return (handle, public) if is_ours and bytes(qualified) == key.primary_name else None

    def _new_attestation_key(self) -> tuple[ESYS_TR, bytes]:
        handle, public = self._create(ak_template())
        try:
            kept = self._esys.evict_control(ESYS_TR.OWNER, handle, AK_HANDLE)
        except TSS2_Exception:
            self._made_ak = handle
            return handle, public
        self._flush(handle)
        return kept, public

    @contextmanager
    def _endorsement_key(self) -> Iterator[tuple[ESYS_TR, bytes]]:
        if (kept := self._kept_endorsement_key()) is not None:
            yield kept
            return
        handle, public = self._create(ek_template())
        try:
            yield handle, public
        finally:
            self._flush(handle)

    def _kept_endorsement_key(self) -> tuple[ESYS_TR, bytes] | None:
        """The persistent EK, when there is one and it is of the template that we expect."""
        try:
            handle = self._esys.tr_from_tpmpublic(EK_HANDLE)
            public = self._esys.read_public(handle)[0].marshal()
            modulus = parse_public(public).modulus
        except (TSS2_Exception, MalformedError):
            return None
        if modulus is None or ek_template(modulus) != public:
            return None
        return handle, public

    def _create(
        self, template: bytes, hierarchy: ESYS_TR = ESYS_TR.ENDORSEMENT
    ) -> tuple[ESYS_TR, bytes]:
        with _wrapped("TPM2_CreatePrimary"):
            handle, public, *_ = self._esys.create_primary(
                TPM2B_SENSITIVE_CREATE(),
                TPM2B_PUBLIC.unmarshal(template)[0],
                hierarchy,
            )
            return handle, public.marshal()

    def _flush(self, handle: ESYS_TR) -> None:
        with _wrapped("TPM2_FlushContext"):
            self._esys.flush_context(handle)

    def endorsement_certificate(self) -> bytes:
        """The EK's certificate (DER), empty when the TPM holds none."""
        try:
            index = self._esys.tr_from_tpmpublic(EK_CERTIFICATE_INDEX)
        except TSS2_Exception:
            return b""
        with _wrapped("reading the EK certificate"):
            size = self._esys.nv_read_public(index)[0].nvPublic.dataSize
            data = b"".join(
                bytes(self._esys.nv_read(index, min(_NV_CHUNK, size - start), start))
                for start in range(0, size, _NV_CHUNK)
            )
        return _first_element(data)


def _first_element(data: bytes) -> bytes:
    """The DER element at the start of an index that may be larger than its certificate."""
    is_long = data[:2] == b"\x30\x82" and len(data) >= 4
    return data[: 4 + int.from_bytes(data[2:4], "big")] if is_long else data


@cache
def _selection(*pcrs: int) -> TPML_PCR_SELECTION:
    if not pcrs:
        return TPML_PCR_SELECTION()
    return TPML_PCR_SELECTION.parse("sha256:" + ",".join(str(pcr) for pcr in pcrs))


@contextmanager
def _wrapped(what: str) -> Iterator[None]:
    try:
        yield
    except TSS2_Exception as error:
        raise TpmError(f"{what}: {error}") from error
