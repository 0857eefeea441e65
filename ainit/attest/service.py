"""The varlink service ``org.ainos.Attest``: answers a verifier's nonce with evidence.

The TPM is opened for each call, so a missing one is an answer (``NoTpm``), never a crash.
tpm2-pytss costs two seconds to import on an emulated processor, hence its import at the first call:
the service is ready before that, and nobody who does not attest pays for it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..child.server import Service, VarlinkError
from ..constants import AUTHORITY, CHANNEL, MEASUREMENTS, TPM_DEVICE
from ..errors import TpmError
from ..wire import interface_text
from ..wire.protocol import INVALID_PARAMETER, Message
from . import pcrs, tss2
from .evidence import FILE_BYTES, NONCE_BYTES, Evidence, to_wire
from .tpms import MalformedError, parse_public, parse_quote, point_pem

if TYPE_CHECKING:
    from .quote import AttestationTpm

INTERFACE = "org.ainos.Attest"
FIRMWARE_LOG = "/sys/kernel/security/tpm0/binary_bios_measurements"
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Sources:
    """Where this machine keeps what goes into the evidence. ``device`` None is not checked."""

    tcti: str = f"device:{TPM_DEVICE}"
    device: str | None = TPM_DEVICE
    log: str = MEASUREMENTS
    firmware_log: str = FIRMWARE_LOG
    channel: str = CHANNEL
    authority: str = AUTHORITY


def collect(tpm: AttestationTpm, sources: Sources, nonce: bytes) -> Evidence:
    """The evidence set for ``nonce``. Raises TpmError.

    PCRs may be extended at any moment: values, quote and log are read again until they are of one
    moment.
    """
    ak_pub = tpm.attestation_key()
    ek_pub, ek_crt = tpm.endorsement()
    point = parse_public(ak_pub).point
    if point is None:
        raise TpmError("the TPM made another key than the AK's template describes")
    for _ in range(_TRIES):
        log = _read(sources.log)
        values = tpm.pcr_values(pcrs.QUOTED)
        message, signature = tpm.quote(nonce, pcrs.QUOTED)
        if parse_quote(message).pcr_digest == pcrs.composite(values) and log == _read(sources.log):
            break
    else:
        raise TpmError(f"the PCRs changed during each of {_TRIES} quotes")
    evidence = Evidence(
        ak_pem=point_pem(*point),
        ak_pub=ak_pub,
        ek_pub=ek_pub,
        ek_crt=ek_crt,
        quote_msg=message,
        quote_sig=signature,
        quote_pcrs=pcrs.serialise(values),
        nonce=nonce,
        log_cel=log,
        firmware_log=_read(sources.firmware_log),
    )
    sums = evidence.listing()
    message, signature = tpm.quote(hashlib.sha256(sums).digest(), ())
    sums_quote = len(message).to_bytes(2, "big") + message + signature
    return replace(evidence, sums=sums, sums_quote=sums_quote)


def _read(path: str) -> bytes:
    """The file, or nothing when the machine has none: the verifier says what that means."""
    try:
        with open(path, "rb") as file:
            return file.read(FILE_BYTES)
    except FileNotFoundError:
        return b""


class Attestation:
    """The methods of the interface, over one machine's sources."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def evidence(self, parameters: Message) -> Message:
        """``Evidence(nonce)``: everything a verifier needs, by file name."""
        nonce = _hex(parameters, "nonce", *NONCE_BYTES)
        try:
            with self._open() as tpm:
                return {"files": to_wire(collect(tpm, self._sources, nonce))}
        except (TpmError, MalformedError) as error:
            raise _failed(error) from error
        except OSError as error:
            raise VarlinkError(f"{INTERFACE}.Failed", {"reason": str(error)}) from error

    def activate(self, parameters: Message) -> Message:
        """``Activate(credential, secret)``: the secret in a credential made for this EK and AK."""
        credential = _hex(parameters, "credential", 2, 512)
        secret = _hex(parameters, "secret", 2, 512)
        try:
            with self._open() as tpm:
                return {"secret": tpm.activate(credential, secret).hex()}
        except TpmError as error:
            raise _failed(error) from error

    def channel(self, parameters: Message) -> Message:
        """``Channel(nonce)``: the AK's word that the key of our TLS certificate is in its TPM."""
        return self._certified(parameters, self._sources.channel)

    def authority(self, parameters: Message) -> Message:
        """``Authority(nonce)``: the same of the key that issues the agents' certificates."""
        return self._certified(parameters, self._sources.authority)

    def _certified(self, parameters: Message, path: str) -> Message:
        nonce = _hex(parameters, "nonce", *NONCE_BYTES)
        try:
            public, private = tss2.parse(_read(path).decode("ascii", "replace"))
            with self._open() as tpm:
                message, signature = tpm.certify(public, private, nonce)
        except (TpmError, MalformedError) as error:
            raise _failed(error) from error
        except OSError as error:
            raise VarlinkError(f"{INTERFACE}.Failed", {"reason": str(error)}) from error
        named = {"public": public, "message": message, "signature": signature}
        return {name: data.hex() for name, data in named.items()}

    def _open(self) -> AttestationTpm:
        device = self._sources.device
        if device is not None and not os.path.exists(device):
            raise VarlinkError(f"{INTERFACE}.NoTpm", {"reason": f"{device} does not exist"})
        from .quote import AttestationTpm

        try:
            return AttestationTpm(self._sources.tcti)
        except TpmError as error:
            raise VarlinkError(f"{INTERFACE}.NoTpm", {"reason": str(error)}) from error


def _failed(error: Exception) -> VarlinkError:
    return VarlinkError(f"{INTERFACE}.Failed", {"reason": str(error)})


def _hex(parameters: Message, name: str, least: int, most: int) -> bytes:
    value = parameters.get(name)
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if not least <= len(data) <= most:
        raise VarlinkError(INVALID_PARAMETER, {"parameter": name})
    return data


def service(sources: Sources | None = None) -> Service:
    """The service, ready to serve."""
    methods = Attestation(sources or Sources())
    return Service(
        interface_text(INTERFACE),
        {
            "Evidence": methods.evidence,
            "Activate": methods.activate,
            "Channel": methods.channel,
            "Authority": methods.authority,
        },
    )
