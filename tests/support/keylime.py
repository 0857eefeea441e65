"""Unmodified Keylime from PyPI on the loopback interface: registrar, verifier and tenant."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from .wait import wait_for

HOST = "127.0.0.1"
DEADLINE = 120.0
API = "/v2.6"
GET_QUOTE, FAILED, INVALID_QUOTE = 3, 7, 9  # keylime.common.states
_PEM = serialization.Encoding.PEM


def free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    holders = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def authority(place: Path) -> None:
    """An authority with one certificate for servers and one for clients, as files in ``place``."""
    now = datetime.datetime.now(datetime.UTC)
    key = rsa.generate_private_key(65537, 2048)
    _issue(place, "ca", key, None, now)
    for name in ("server", "client"):
        _issue(place, name, rsa.generate_private_key(65537, 2048), key, now)


def _issue(
    place: Path,
    name: str,
    key: rsa.RSAPrivateKey,
    issuer: rsa.RSAPrivateKey | None,
    now: datetime.datetime,
) -> None:
    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    address = x509.IPAddress(ipaddress.ip_address(HOST))
    certificate = (
        x509.CertificateBuilder(called("ca"), called(name), key.public_key(), 1 + len(name))
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(issuer or key, hashes.SHA256())
    )
    (place / f"{name}.crt").write_bytes(certificate.public_bytes(_PEM))
    (place / f"{name}.key").write_bytes(
        key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class Keylime:
    """Registrar and verifier, each a process group of its own, and calls of the tenant."""

    def __init__(self, python: Path, place: Path, manufacturers: bytes) -> None:
        self._bin = python.parent
        self.place = place
        self._processes: list[subprocess.Popen[bytes]] = []
        authority(place)
        (place / "manufacturers").mkdir()
        (place / "manufacturers/tpm.pem").write_bytes(manufacturers)
        self.port, self.tls_port, self.verifier_port = free_ports(3)
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "KEYLIME_DIR": str(place),
            "PYTHONUNBUFFERED": "1",
        }
        self._configure()

    def _configure(self) -> None:
        tls = {"tls_dir": self.place, "server_key_password": "", "client_key_password": ""}
        server = {
            **tls,
            "server_key": self.place / "server.key",
            "server_cert": self.place / "server.crt",
            "trusted_client_ca": json.dumps([str(self.place / "ca.crt")]),
            "auto_migrate_db": True,
            "database_pool_sz_ovfl": "5,10",
            "authorization_provider": "simple",
            "durable_attestation_import": "",
        }
        client = {
            **tls,
            "client_key": self.place / "client.key",
            "client_cert": self.place / "client.crt",
            "trusted_server_ca": json.dumps([str(self.place / "ca.crt")]),
            "enable_agent_mtls": True,
            "registrar_ip": HOST,
            "registrar_port": self.tls_port,
            "exponential_backoff": False,
            "retry_interval": 0.1,
            "max_retries": 3,
            "request_timeout": DEADLINE,
        }
        self._write(
            "registrar",
            registrar=server
            | {
                "ip": HOST,
                "port": self.port,
                "tls_port": self.tls_port,
                "database_url": f"sqlite:///{self.place}/registrar.sqlite",
                "max_workers": 1,
                "tpm_identity": "ek_cert",
                "malformed_cert_action": "reject",
            },
        )
        self._write(
            "verifier",
            verifier=server
            | client
            | {
                "uuid": "default",
                "ip": HOST,
                "port": self.verifier_port,
                "database_url": f"sqlite:///{self.place}/verifier.sqlite",
                "num_workers": 1,
                "mode": "pull",
                "quote_interval": 0.2,
                "max_upload_size": 104857600,
                "measured_boot_policy_name": "accept-all",
                "measured_boot_imports": "[]",
                "measured_boot_evaluate": "once",
                "severity_labels": '["info", "emergency"]',
                "severity_policy": '[{"event_id": ".*", "severity_label": "emergency"}]',
            },
            revocations={"enabled_revocation_notifications": "[]", "webhook_url": ""},
        )
        self._write(
            "tenant",
            tenant=client
            | {
                "verifier_ip": HOST,
                "verifier_port": self.verifier_port,
                "tpm_cert_store": self.place / "manufacturers",
                "max_payload_size": 1048576,
                "accept_tpm_hash_algs": '["sha256"]',
                "accept_tpm_encryption_algs": '["rsa"]',
                "accept_tpm_signing_algs": '["ecdsa"]',
                "require_ek_cert": True,
                "ek_check_script": "",
                "mb_refstate": "",
            },
        )
        self._write("ca", ca={"password": "default"})
        self._write(
            "logging",
            loggers={"keys": "root"},
            handlers={"keys": "console"},
            formatters={"keys": "plain"},
            formatter_plain={"format": "%(levelname)s %(name)s %(message)s"},
            handler_console={
                "class": "StreamHandler",
                "level": "INFO",
                "formatter": "plain",
                "args": "(sys.stderr,)",
            },
            logger_root={"level": "INFO", "handlers": "console"},
        )

    def _write(self, name: str, **sections: Mapping[str, object]) -> None:
        path = self.place / f"{name}.conf"
        text = ""
        for section, options in sections.items():
            text += f"[{section}]\n"
            text += "".join(f"{option} = {value}\n" for option, value in options.items())
        path.write_text(text)
        path.chmod(0o600)
        self._environment[f"KEYLIME_{name.upper()}_CONFIG"] = str(path)

    def __enter__(self) -> Self:
        try:
            self._start("registrar")
            self._start("verifier")
            for port in (self.tls_port, self.verifier_port):
                wait_for(partial(self._answers, port), f"an answer at {port}", DEADLINE)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its workers too; nothing is to be kept
            process.wait(DEADLINE)

    def _start(self, name: str) -> None:
        with (self.place / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [str(self._bin / f"keylime_{name}")],
                    cwd=self.place,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def said(self) -> str:
        """What both servers wrote, for the message of a failure."""
        logs = (self.place / f"{name}.log" for name in ("registrar", "verifier"))
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in logs)

    def _answers(self, port: int) -> bool:
        assert all(process.poll() is None for process in self._processes), self.said()
        try:
            return self._get(port, "/version")[0] == 200
        except OSError:
            return False

    def client_context(self) -> ssl.SSLContext:
        """TLS as the verifier and the tenant present themselves."""
        context = ssl.create_default_context(cafile=str(self.place / "ca.crt"))
        context.load_cert_chain(self.place / "client.crt", self.place / "client.key")
        return context

    def _get(self, port: int, path: str) -> tuple[int, dict[str, object]]:
        context = self.client_context()
        channel = http.client.HTTPSConnection(HOST, port, timeout=DEADLINE, context=context)
        try:
            channel.request("GET", path)
            response = channel.getresponse()
            reply = json.loads(response.read())
        finally:
            channel.close()
        return response.status, reply.get("results") or {}

    def tenant(self, command: str, agent: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run ``keylime_tenant``."""
        return subprocess.run(
            [str(self._bin / "keylime_tenant"), "-c", command, "-u", agent, *options],
            cwd=self.place,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def registered(self, agent: str) -> dict[str, object] | None:
        """What the registrar knows of a machine that proved its TPM."""
        status, results = self._get(self.tls_port, f"{API}/agents/{agent}")
        return results if status == 200 else None

    def status(self, agent: str) -> dict[str, object]:
        """What the verifier thinks of a machine."""
        return self._get(self.verifier_port, f"{API}/agents/{agent}")[1]

    def judgement(self, agent: str, quotes: int = 2) -> dict[str, object]:
        """The status once so many quotes were accepted, or one was refused."""
        end = time.monotonic() + DEADLINE

        def judged() -> dict[str, object] | None:
            status = self.status(agent)
            if status.get("operational_state") in (FAILED, INVALID_QUOTE):
                return status
            count = status.get("attestation_count")
            return status if isinstance(count, int) and count >= quotes else None

        return wait_for(judged, f"a judgement\n{self.said()}", end - time.monotonic()) or {}
