"""The machine's side: a request is answered from TPM and firmware log.

One request at a time uses the TPM, because each binds its own data in PCR 16 before it quotes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol, assert_never

from ..attest import pcrs
from ..attest.evidence import FILE_BYTES
from ..attest.tpms import parse_quote
from ..constants import PCR_KEYLIME
from ..errors import TpmError
from . import protocol
from .protocol import Info, PublicKey, QuoteRequest, Request, Version

_TRIES = 5


class Tpm(Protocol):
    """What is needed of ``ainit.attest.quote.AttestationTpm``."""

    def bind(self, pcr: int, digest: bytes) -> None:
        """Reset the PCR and extend the digest."""

    def pcr_values(self, pcrs: tuple[int, ...]) -> dict[int, bytes]:
        """The values of these PCRs."""

    def quote(self, nonce: bytes, pcrs: tuple[int, ...]) -> tuple[bytes, bytes]:
        """TPMS_ATTEST and TPMT_SIGNATURE."""


class Agent:
    """Answers requests. ``open_tpm`` opens the TPM for the length of a ``with`` block."""

    def __init__(
        self,
        name: str,
        public_key: str,
        open_tpm: Callable[[], AbstractContextManager[Tpm]],
        firmware_log: str,
    ) -> None:
        self.name = name
        self._public_key = public_key
        self._open_tpm = open_tpm
        self._firmware_log = firmware_log
        self._lock = threading.Lock()

    def answer(self, request: Request) -> dict[str, object]:
        """The results of a request. Raises TpmError and OSError."""
        match request:
            case Version():
                versions = list(protocol.VERSIONS)
                return {"supported_version": versions[-1], "supported_versions": versions}
            case Info():
                return {
                    "agent_uuid": self.name,
                    "tpm_hash_alg": protocol.HASH,
                    "tpm_enc_alg": protocol.ENCRYPTION,
                    "tpm_sign_alg": protocol.SIGNATURE,
                }
            case PublicKey():
                return {"pubkey": self._public_key}
            case QuoteRequest():
                return self._quoted(request)
        assert_never(request)

    def _quoted(self, request: QuoteRequest) -> dict[str, object]:
        results: dict[str, object] = {
            "quote": self._quote(request),
            "hash_alg": protocol.HASH,
            "enc_alg": protocol.ENCRYPTION,
            "sign_alg": protocol.SIGNATURE,
        }
        if request.has_key:
            results["pubkey"] = self._public_key
        if 0 in request.pcrs:  # a verifier with a policy for measured boot asks for all of its PCRs
            results["mb_measurement_list"] = protocol.encoded(self._log())
        return results

    def _quote(self, request: QuoteRequest) -> str:
        selection = protocol.selected(request.pcrs)
        with self._lock, self._open_tpm() as tpm:
            for _ in range(_TRIES):
                tpm.bind(PCR_KEYLIME, protocol.bound_digest(self._public_key))
                values = tpm.pcr_values(selection)
                message, signature = tpm.quote(request.nonce, selection)
                if parse_quote(message).pcr_digest == pcrs.composite(values):
                    return protocol.quote_text(message, signature, pcrs.serialise(values))
        raise TpmError(f"the PCRs changed during each of {_TRIES} quotes")

    def _log(self) -> bytes:
        """The log, or nothing when the machine has none: the verifier's policy judges that."""
        try:
            with open(self._firmware_log, "rb") as file:
                return file.read(FILE_BYTES)
        except FileNotFoundError:
            return b""
