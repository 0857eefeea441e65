"""The operator's end: his key, the machines that he knows, and how he came to know them.

A machine is known by the certificate that its TPM's attestation vouched for when it was added
(``meet``); from then on that very certificate is asked for. ``Folder`` keeps all of it:

    operator.pem        key and certificate of the operator
    hosts/NAME.json     one machine: address, certificate, and which TPM it has
"""

from __future__ import annotations

import datetime
import json
import os
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..attest import channel
from ..attest.enrol import enrol
from ..attest.verdict import Verdict
from ..attest.verify import Trust, verify
from ..child import tls
from ..child.client import Client, Connect
from ..errors import ConfigError, Finding, RefusedError, UnavailableError
from ..linux import files

Trusting = Callable[[bytes], Trust]  # what is accepted, by the nonce

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}\Z")
_YEARS, _BEFORE_DAYS = 2, 1  # a machine's clock may be behind
_PEM = serialization.Encoding.PEM
_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Host:
    """A machine: where it is, its certificate (PEM), and the SHA-256 of its EK's certificate."""

    name: str
    address: str
    port: int
    certificate: str
    ek: str


@dataclass(frozen=True, slots=True)
class Folder:
    """Where an operator keeps what is his."""

    path: str

    @property
    def key(self) -> str:
        """The file of his key and certificate."""
        return os.path.join(self.path, "operator.pem")

    def make_key(self, name: str) -> str:
        """Make a key unless there is one; the certificate of it (PEM). Raises OSError."""
        if not os.path.exists(self.key):
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            files.replace(self.key, _made(name), mode=0o600)
        return self.certificate()

    def certificate(self) -> str:
        """The operator's certificate (PEM). Raises ConfigError when there is none."""
        try:
            with open(self.key, "rb") as file:
                found = x509.load_pem_x509_certificate(file.read(_BYTES_MAX))
        except FileNotFoundError as error:
            text = "there is no key yet: `ainitctl remote key` makes one"
            raise ConfigError([Finding(self.key, 0, text)]) from error
        except (OSError, ValueError) as error:
            raise ConfigError([Finding(self.key, 0, str(error))]) from error
        return found.public_bytes(_PEM).decode()

    def hosts(self) -> list[Host]:
        """Every machine that is known, by name. Raises ConfigError for a file that is spoilt."""
        try:
            names = sorted(os.listdir(os.path.join(self.path, "hosts")))
        except FileNotFoundError:
            return []
        return [self.host(name[:-5]) for name in names if name.endswith(".json")]

    def host(self, name: str) -> Host:
        """The machine of this name. Raises ConfigError."""
        path = self._file(name)
        try:
            with open(path, "rb") as file:
                record = json.loads(file.read(_BYTES_MAX))
            return Host(name, str(record["address"]), int(record["port"]),
                        str(record["certificate"]), str(record["ek"]))  # fmt: skip
        except FileNotFoundError as error:
            text = f"{name} is not known: `ainitctl remote add {name} ADDRESS` attests and adds it"
            raise ConfigError([Finding(path, 0, text)]) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError([Finding(path, 1, f"is no record of a machine: {error}")]) from error

    def keep(self, host: Host) -> None:
        """Remember a machine."""
        path = self._file(host.name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        files.replace(path, json.dumps(asdict(host), indent=2).encode() + b"\n", mode=0o600)

    def forget(self, name: str) -> None:
        """Know a machine no longer. Raises ConfigError when it was not known."""
        self.host(name)
        os.unlink(self._file(name))

    def connect(self, name: str) -> Connect:
        """Connects to a machine that is known, and to no other that answers there."""
        host = self.host(name)
        context = tls.client(self.key, self.key, host.certificate, by_name=False)
        return partial(_connected, (host.address, host.port), context, _der(host.certificate))

    def meet(
        self, name: str, address: tuple[str, int], trust: Trusting, timeout: float
    ) -> tuple[Verdict, Host]:
        """Have a machine that nobody knows attest itself and its end of the channel.

        ``trust`` says by a nonce what is accepted. The verdict may refuse the machine; the host is
        then not to be kept. Raises RefusedError when whoever answers is not the machine that
        attests, or the name is taken; UnavailableError when nobody answers.
        """
        if os.path.exists(self._file(name)):
            raise RefusedError(f"{name} is known already: `ainitctl remote remove {name}` first")
        connect = partial(_connected, address, tls.stranger(self.key, self.key), None)
        verdict, shown = _attested(f"{address[0]}:{address[1]}", connect, trust, timeout)
        pem = ssl.DER_cert_to_PEM_cert(shown)
        return verdict, Host(name, *address, pem, verdict.facts.ek_fingerprint)

    def verify(self, name: str, trust: Trusting, timeout: float) -> Verdict:
        """Have a machine that is known attest itself and its end of the channel again. Raises as
        ``meet``, RefusedError also when the machine has another TPM.
        """
        host = self.host(name)
        verdict, _ = _attested(name, self.connect(name), trust, timeout)
        if verdict.facts.ek_fingerprint != host.ek:
            raise RefusedError(f"{name} has another TPM: {verdict.facts.ek_fingerprint}")
        return verdict

    def _file(self, name: str) -> str:
        if not _NAME.match(name):
            text = f"{name!r} is no name of a machine: lower-case letters, digits, - and ."
            raise ConfigError([Finding(self.path, 0, text)])
        return os.path.join(self.path, "hosts", f"{name}.json")


def _attested(
    label: str, connect: Connect, trust: Trusting, timeout: float
) -> tuple[Verdict, bytes]:
    """The verdict on whoever answers, and the certificate (DER) that he showed."""
    shown: list[bytes] = []

    def seen(seconds: float | None) -> socket.socket:
        made = connect(seconds)
        if isinstance(made, ssl.SSLSocket):
            shown.append(made.getpeercert(binary_form=True) or b"")
        return made

    with Client(label, timeout, seen) as client:
        enrolment = enrol(client)
        nonce = os.urandom(channel.NONCE_BYTES)
        answer = channel.ask(client, nonce)
    asked = replace(trust(enrolment.nonce), activation=enrolment.activation)
    verdict = verify(enrolment.evidence, asked)
    if found := channel.problems(answer, nonce, enrolment.evidence.ak_pub, shown[0]):
        raise RefusedError(f"{label} is not who attests there: {'; '.join(found)}")
    return verdict, shown[0]


def _connected(
    address: tuple[str, int],
    context: ssl.SSLContext,
    certificate: bytes | None,
    timeout: float | None,
) -> ssl.SSLSocket:
    """The channel to whoever answers at ``address`` with this certificate. Raises OSError."""
    channel = socket.create_connection(address, timeout)
    try:
        secured = context.wrap_socket(channel)
    except ssl.SSLCertVerificationError as error:
        text = "another machine answers there, or this one has another TPM key now"
        raise UnavailableError(f"{address[0]}:{address[1]}: {text}") from error
    finally:
        channel.close()
    if certificate is not None and secured.getpeercert(binary_form=True) != certificate:
        secured.close()
        raise UnavailableError(f"{address[0]}:{address[1]}: another machine answers there")
    return secured


def _der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.strip())


def _made(name: str) -> bytes:
    """A new key and a certificate that it signs for itself, as one PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=_BEFORE_DAYS))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(_PEM) + private
