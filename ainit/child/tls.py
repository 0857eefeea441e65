"""TLS contexts: with whom, and with which key. Both sides show a certificate, but for ``public``.

    context = server("own.pem", "own.pem", authorities("clients.pem"))

``trusted`` is PEM text: certificates of authorities, or those of the other side itself, which are
then believed as they are. A key may be one of the TPM (``TSS2 PRIVATE KEY``) where OpenSSL has the
provider for it. Raises ConfigError that names the file.
"""

from __future__ import annotations

import ssl

from ..errors import ConfigError, Finding, RefusedError

_BYTES_MAX = 1 << 20
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME, x509_vfy.h


def server(
    certificate: str,
    key: str,
    trusted: str,
    *,
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLContext:
    """For clients that ``trusted`` vouches for. Sessions are not resumed: who is not trusted any
    more does not come back with a ticket.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = oldest
    made.verify_mode = ssl.CERT_REQUIRED
    made.num_tickets = 0
    made.options |= ssl.OP_NO_TICKET
    return _with(made, certificate, key, trusted)


def client(certificate: str, key: str, trusted: str, *, by_name: bool = True) -> ssl.SSLContext:
    """For servers that ``trusted`` vouches for; ``by_name``: whose certificate has the name that
    they are called by.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = by_name
    return _with(made, certificate, key, trusted)


def stranger(certificate: str, key: str) -> ssl.SSLContext:
    """For a server that nobody vouches for yet: whoever uses this has to find out who it is."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return _with(made, certificate, key, None)


def public(trusted: str, *, dated: bool = True) -> ssl.SSLContext:
    """For servers that any of these authorities vouches for, else those that OpenSSL knows; nobody
    shows a certificate to them. Where not ``dated``, a certificate's time is not looked at.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if trusted:
        _trust(made, trusted, "the authorities to trust")
    else:
        made.load_default_certs()
    if not dated:
        made.verify_flags |= _NO_CHECK_TIME
    return made


def spiffe_id(channel: ssl.SSLSocket) -> str:
    """Who the other side is, by the one URI in its certificate, such as that of an agent. Raises
    RefusedError: whoever speaks to agents compares this with whom it expects.
    """
    names = (channel.getpeercert() or {}).get("subjectAltName", ())
    found = [str(pair[1]) for pair in names if pair[0] == "URI"]
    if len(found) != 1 or not found[0].startswith("spiffe://"):
        raise RefusedError("its certificate has no SPIFFE ID")
    return found[0]


def authorities(path: str) -> str:
    """The certificates in a PEM file, as text."""
    text = _read(path)
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), text, path)
    return text


def _with(made: ssl.SSLContext, certificate: str, key: str, trusted: str | None) -> ssl.SSLContext:
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for path in dict.fromkeys((certificate, key)):
        _read(path)
    try:
        made.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        text = f"no certificate with the key {key}: {error.reason or error}"
        raise ConfigError([Finding(certificate, 0, text)]) from error
    if trusted is not None:
        _trust(made, trusted, "the certificates to trust")
    return made


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_BYTES_MAX).decode("ascii", "replace")
    except OSError as error:
        raise ConfigError([Finding(path, 0, str(error.strerror))]) from error


def _trust(context: ssl.SSLContext, text: str, name: str) -> None:
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, TypeError, ValueError) as error:  # the second: what is no ASCII
        raise ConfigError([Finding(name, 0, "no certificates (PEM)")]) from error
