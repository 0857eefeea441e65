"""Which operator a client's certificate is, and what he may call.

The certificates of the machine configuration are believed as they are: no authority stands between
the configuration, which is measured, and an operator. One that is none is left out, and told.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from ..policy.remote import Operator

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Operators:
    """Those whose certificates can be used. ``trusted`` is PEM text, ``faults`` says of the others
    what is wrong.
    """

    trusted: str
    faults: tuple[str, ...]
    _by_digest: dict[bytes, Operator]

    @classmethod
    def of(cls, operators: Iterable[Operator]) -> Operators:
        """Read the certificates. Of two operators with one certificate neither is believed."""
        known: dict[bytes, Operator] = {}
        pems: dict[bytes, str] = {}
        faults: list[str] = []
        shared: set[bytes] = set()
        for operator in operators:
            try:
                der = _der(operator.certificate)
            except ValueError as error:
                faults.append(f"the certificate of {operator.name} is none: {error}")
                continue
            digest = hashlib.sha256(der).digest()
            if digest in known:
                other = known[digest].name
                faults.append(f"{operator.name} and {other} have one certificate: neither may call")
                shared.add(digest)
                continue
            known[digest] = operator
            pems[digest] = ssl.DER_cert_to_PEM_cert(der)
        for digest in shared:
            del known[digest], pems[digest]
        return cls("".join(pems.values()), tuple(faults), known)

    def who(self, certificate: bytes | None) -> Operator | None:
        """The operator with this certificate (DER)."""
        return self._by_digest.get(hashlib.sha256(certificate or b"").digest())


def _der(pem: str) -> bytes:
    text = pem.strip().removeprefix(_BEGIN).removesuffix(_END)
    try:
        der = base64.b64decode("".join(text.split()), validate=True)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
    except (binascii.Error, ssl.SSLError, ValueError) as error:
        raise ValueError(str(error)) from error
    return der
