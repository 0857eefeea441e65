"""The registrar's side of registration: keys and certificate there, and the TPM's proof.

The registrar answers with a secret that only the TPM with this EK and this AK can recover; what is
sent back shows that it did. Nothing here is secret to others, so plain HTTP loses nothing.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import UnavailableError, WireError
from . import protocol

DEADLINE_SECONDS = 30.0
_BODY_BYTES = 64 * 1024
Activate = Callable[[bytes, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Registration:
    """What the registrar keeps of a machine. Keys are TPM2B_PUBLIC, the EK's certificate is DER."""

    name: str
    ek_pub: bytes
    ek_crt: bytes
    ak_pub: bytes
    certificate: str
    address: str
    port: int

    def body(self) -> dict[str, object]:
        """The JSON of the request."""
        fields: dict[str, object] = {
            "ek_tpm": protocol.encoded(self.ek_pub),
            "aik_tpm": protocol.encoded(self.ak_pub),
            "mtls_cert": self.certificate,
            "ip": self.address,
            "port": self.port,
        }
        if self.ek_crt:
            fields["ekcert"] = protocol.encoded(self.ek_crt)
        return fields


def register(host: str, port: int, registration: Registration, activate: Activate) -> None:
    """Register and prove it. ``activate`` is TPM2_ActivateCredential.

    Raises UnavailableError while nobody answers, WireError when the registrar refuses or answers
    out of turn, MalformedError and TpmError for a challenge that is none.
    """
    path = f"/v{protocol.VERSIONS[-1]}/agents/{registration.name}"
    results = _call(host, port, "POST", path, registration.body())
    secret = activate(*protocol.parse_challenge(results.get("blob")))
    tag = protocol.auth_tag(secret, registration.name)
    _call(host, port, "PUT", f"{path}/activate", {"auth_tag": tag})


def _call(
    host: str, port: int, method: str, path: str, body: Mapping[str, object]
) -> Mapping[str, object]:
    where = f"the registrar at {host}:{port}"
    channel = http.client.HTTPConnection(host, port, timeout=DEADLINE_SECONDS)
    try:
        channel.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        response = channel.getresponse()
        data = response.read(_BODY_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"{where}: {error!r}") from error
    finally:
        channel.close()
    try:
        reply = json.loads(data)
    except ValueError as error:
        raise WireError(f"{where} answered {response.status} without JSON") from error
    if not isinstance(reply, dict) or response.status != http.client.OK:
        reason = reply.get("status") if isinstance(reply, dict) else "no object"
        raise WireError(f"{where} answered {response.status}: {str(reason)[:200]}")
    results = reply.get("results")
    return results if isinstance(results, dict) else {}
