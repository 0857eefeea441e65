"""Is the other end of a TLS channel the machine whose TPM was attested?

The machine's certificate holds a key that its TPM made and does not give away. The attestation key
says so over a fresh nonce (TPM2_Certify), and TLS shows that the other end uses that key. Whoever
stands between, with a genuine TPM of his own, too, has neither.

    answer = ask(client, nonce)
    problems(answer, nonce, evidence.ak_pub, certificate)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import WireError
from .enrol import Caller
from .keys import Attester
from .templates import channel_template
from .tpms import MalformedError, parse_certified, parse_public

NONCE_BYTES = 32
METHOD = "org.ainos.Attest.Channel"
AUTHORITY = "org.ainos.Attest.Authority"  # the same of the authority of the agents


@dataclass(frozen=True, slots=True)
class Answer:
    """The key's TPM2B_PUBLIC, and what the AK signed: TPMS_ATTEST and TPMT_SIGNATURE."""

    public: bytes
    message: bytes
    signature: bytes


def ask(client: Caller, nonce: bytes, method: str = METHOD) -> Answer:
    """Have the machine certify the key of its channel. Raises WireError and as the client does."""
    reply: Mapping[str, object] = client.call(method, {"nonce": nonce.hex()})
    try:
        found = [bytes.fromhex(str(reply[name])) for name in ("public", "message", "signature")]
    except (KeyError, ValueError) as error:
        raise WireError("the answer about the channel lacks something") from error
    return Answer(*found)


def problems(answer: Answer, nonce: bytes, ak_pub: bytes, certificate: bytes) -> list[str]:
    """Why the owner of ``certificate`` (DER, as TLS showed it) need not be the machine with the AK
    ``ak_pub`` (TPM2B_PUBLIC, verified before); empty when he is.
    """
    try:
        signer = parse_public(ak_pub)
        key = parse_public(answer.public)
        certified = parse_certified(answer.message)
        if signer.point is None or key.point is None:
            raise MalformedError("a key is no ECC key")
        is_signed = Attester((signer.point,), signer).signed(answer.message, answer.signature)
        shown = _point(certificate)
    except MalformedError as error:
        return [f"the answer about the channel: {error}"]
    found = []
    if not is_signed:
        found.append("the attestation key did not sign what is said about the channel's key")
    if certified.nonce != nonce:
        found.append("what is said about the channel's key is not about this conversation")
    if certified.name != key.name:
        found.append("the attestation key vouches for another key than the channel's")
    if answer.public != channel_template(*key.point):
        found.append("the channel's key may be used outside the TPM")
    if shown != key.point:
        found.append("whoever answers uses another key: somebody stands between")
    return found


def _point(certificate: bytes) -> tuple[bytes, bytes]:
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except ValueError as error:
        raise MalformedError(f"the certificate: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise MalformedError("the certificate holds no P-256 key")
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32), numbers.y.to_bytes(32)
