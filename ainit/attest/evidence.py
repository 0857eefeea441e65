"""The evidence set: one frozen record, the files it is kept in, and its form on the wire.

``SHA256SUMS`` lists the other files in the format of sha256sum(1), and ``SHA256SUMS.quote`` is a
quote of the AK over no PCR whose nonce is the digest of that list. With it, a file that was altered
on its way is named, even where only the list covers a byte (the firmware log has such bytes). It
adds no trust: what is believed about the machine rests on the first quote alone, whose nonce is the
verifier's own, so that unmodified ``tpm2_checkquote -u ak.pem -m quote.msg -s quote.sig -f
quote.pcrs -g sha256 -q nonce`` accepts it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..errors import WireError

NONCE_BYTES = (16, 64)
FILE_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Evidence:
    """The bytes of every file; empty means missing. ``FILES`` gives each field its file name."""

    ak_pem: bytes  # the AK's public key, as OpenSSL reads it
    ak_pub: bytes  # the same key as TPM2B_PUBLIC, with its attributes
    ek_pub: bytes  # the EK as TPM2B_PUBLIC
    ek_crt: bytes  # the manufacturer's certificate of the EK (DER)
    quote_msg: bytes  # TPMS_ATTEST
    quote_sig: bytes  # TPMT_SIGNATURE of the AK over it
    quote_pcrs: bytes  # the quoted PCR values, as tpm2_quote writes them
    nonce: bytes  # what the verifier sent (binary)
    log_cel: bytes  # ainit's event log (PCRs 12 to 14)
    firmware_log: bytes  # the firmware's event log (PCRs 0 to 9 and 11)
    sums: bytes = b""  # the SHA-256 of each file above
    sums_quote: bytes = b""  # TPM2B_ATTEST and TPMT_SIGNATURE over the digest of sums

    def listing(self) -> bytes:
        """What ``sums`` must be."""
        lines = (
            f"{hashlib.sha256(getattr(self, field)).hexdigest()}  {name}\n"
            for field, name in FILES.items()
            if field not in ("sums", "sums_quote")
        )
        return "".join(lines).encode("ascii")


FILES = {
    "ak_pem": "ak.pem",
    "ak_pub": "ak.pub",
    "ek_pub": "ek.pub",
    "ek_crt": "ek.crt",
    "quote_msg": "quote.msg",
    "quote_sig": "quote.sig",
    "quote_pcrs": "quote.pcrs",
    "nonce": "nonce",
    "log_cel": "log.cel",
    "firmware_log": "firmware.log",
    "sums": "SHA256SUMS",
    "sums_quote": "SHA256SUMS.quote",
}
assert tuple(FILES) == tuple(field.name for field in fields(Evidence))


def to_wire(evidence: Evidence) -> dict[str, str]:
    """Base64 by file name, for varlink."""
    return {
        name: base64.b64encode(getattr(evidence, field)).decode("ascii")
        for field, name in FILES.items()
    }


def from_wire(files: object) -> Evidence:
    """The evidence in a varlink reply. Raises WireError for anything but base64 by known name."""
    if not isinstance(files, dict) or not set(files) <= set(FILES.values()):
        raise WireError("the evidence holds other files than it should")
    try:
        decoded = {name: base64.b64decode(str(text), validate=True) for name, text in files.items()}
    except ValueError as error:
        raise WireError("a file of the evidence is not base64") from error
    return from_files(decoded)


def from_files(files: Mapping[str, bytes]) -> Evidence:
    """The evidence from bytes by file name; what is not there stays empty."""
    return Evidence(**{field: bytes(files.get(name, b"")) for field, name in FILES.items()})
