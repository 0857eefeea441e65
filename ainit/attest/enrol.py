"""The verifier's side of the conversation: a nonce, the evidence for it, and the challenge.

    with Client(path, timeout=60) as client:
        enrolment = enrol(client)
    verdict = verify(enrolment.evidence, trust_with(enrolment.nonce, enrolment.activation))

The challenge binds the AK to the EK for whoever made the secret, at the moment of asking, and for
nobody else: a record of it (``directory``) is worth as much as the trust in who kept it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..errors import WireError
from .credential import SEED_BYTES, make_credential
from .evidence import Evidence, from_wire
from .keys import rsa_key
from .tpms import parse_public
from .verify import Activation

NONCE_BYTES = 32
SECRET_BYTES = 32


class Caller(Protocol):
    """What is needed of ``ainit.child.client.Client``."""

    def call(
        self, method: str, parameters: Mapping[str, object] | None = None
    ) -> Mapping[str, object]:
        """The parameters of the reply."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What one conversation brought."""

    evidence: Evidence
    nonce: bytes
    activation: Activation


@dataclass(frozen=True, slots=True)
class Challenge:
    """A secret that only the TPM of one EK can recover, for one AK."""

    ak_name: bytes
    ek_pub: bytes
    secret: bytes
    credential: bytes  # TPM2B_ID_OBJECT
    wrapped: bytes  # TPM2B_ENCRYPTED_SECRET

    def answered(self, secret: bytes) -> Activation:
        """The challenge with what the TPM recovered."""
        return Activation(self.ak_name, self.ek_pub, self.secret, secret)


def challenge(evidence: Evidence, random: Callable[[int], bytes] = os.urandom) -> Challenge:
    """Make a fresh secret for the keys of ``evidence``. Raises MalformedError for no keys."""
    name = parse_public(evidence.ak_pub).name
    ek = rsa_key(parse_public(evidence.ek_pub))
    secret = random(SECRET_BYTES)
    credential, wrapped = make_credential(ek, name, secret, random(SEED_BYTES))
    return Challenge(name, evidence.ek_pub, secret, credential, wrapped)


def enrol(
    client: Caller, nonce: bytes | None = None, random: Callable[[int], bytes] = os.urandom
) -> Enrolment:
    """Ask for evidence and challenge the TPM with a fresh secret.

    Raises WireError when the answers are not what the interface promises, VarlinkError and
    UnavailableError as the client does, MalformedError when the keys are no keys.
    """
    nonce = random(NONCE_BYTES) if nonce is None else nonce
    reply = client.call("org.ainos.Attest.Evidence", {"nonce": nonce.hex()})
    evidence = from_wire(reply.get("files"))
    return Enrolment(evidence, nonce, activate(client, evidence, random))


def activate(
    client: Caller, evidence: Evidence, random: Callable[[int], bytes] = os.urandom
) -> Activation:
    """Challenge the TPM that holds the EK of ``evidence`` with a secret made for its AK."""
    asked = challenge(evidence, random)
    parameters = {"credential": asked.credential.hex(), "secret": asked.wrapped.hex()}
    answer = client.call("org.ainos.Attest.Activate", parameters).get("secret")
    try:
        recovered = bytes.fromhex(answer) if isinstance(answer, str) else b""
    except ValueError as error:
        raise WireError("the answer to the credential is not hexadecimal") from error
    return asked.answered(recovered)
