"""The command: register with the registrar, then answer verifiers.

KEYLIME_ADDRESS      where to listen: an IP address
KEYLIME_PORT         likewise; 9002 when absent
KEYLIME_CONTACT      the IP address that the registrar is told; KEYLIME_ADDRESS when absent
KEYLIME_CONTACT_PORT likewise; KEYLIME_PORT when absent
KEYLIME_REGISTRAR    the registrar: an address or a host name
KEYLIME_REGISTRAR_PORT   8890 when absent
CREDENTIALS_DIRECTORY/client-ca   the authority that issues the certificates of verifiers (PEM)

Ends with 1 when a setting is wrong or the registrar refuses; whoever supervises it starts it again.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ..attest.service import FIRMWARE_LOG
from ..child import service, tls
from ..child.notify import notify
from ..constants import KEYLIME, TPM_DEVICE
from ..errors import ConfigError, Finding
from .agent import Agent
from .identity import agent_name, identity
from .registrar import Registration, register
from .server import Server

_BACKLOG = 16
_IDLE_SECONDS = 5.0  # how often a server without clients looks whether one lasts too long


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the agent listens, whom it registers with, and what it uses of the machine."""

    address: str
    port: int
    contact: str
    contact_port: int
    registrar: str
    registrar_port: int
    client_ca: str
    state: str = KEYLIME
    tcti: str = f"device:{TPM_DEVICE}"
    firmware_log: str = FIRMWARE_LOG


def settings(environment: Mapping[str, str]) -> Settings:
    """The settings in the environment. Raises ConfigError with every one that is wrong."""
    wrong: list[str] = []

    def text(name: str) -> str:
        if not (value := environment.get(name, "")):
            wrong.append(f"{name} is missing")
        return value

    def port(name: str, default: int) -> int:
        value = environment.get(name, str(default))
        if value.isdecimal() and 0 < int(value) < 1 << 16:
            return int(value)
        wrong.append(f"{name} is no port: {value!r}")
        return default

    address, own_port = text("KEYLIME_ADDRESS"), port("KEYLIME_PORT", 9002)
    found = Settings(
        address,
        own_port,
        environment.get("KEYLIME_CONTACT") or address,
        port("KEYLIME_CONTACT_PORT", own_port),
        text("KEYLIME_REGISTRAR"),
        port("KEYLIME_REGISTRAR_PORT", 8890),
        os.path.join(text("CREDENTIALS_DIRECTORY"), "client-ca"),
    )
    for name, value in (("KEYLIME_ADDRESS", found.address), ("KEYLIME_CONTACT", found.contact)):
        try:
            socket.getaddrinfo(value, None, flags=socket.AI_NUMERICHOST)
        except OSError:
            wrong.append(f"{name} is no IP address: {value!r}")
    if wrong:
        raise ConfigError([Finding("environment", 0, reason) for reason in wrong])
    return found


def start(given: Settings, listener: socket.socket) -> Server:
    """Register the machine whose agent listens there, and return its server."""
    from ..attest.quote import AttestationTpm  # two seconds on an emulated processor

    own = identity(given.state, given.contact)
    clients = tls.authorities(given.client_ca)
    context = tls.server(own.path, own.path, clients, oldest=ssl.TLSVersion.TLSv1_2)
    with AttestationTpm(given.tcti) as tpm:
        ek_pub, ek_crt = tpm.endorsement()
        name = agent_name(ek_pub)
        ak_pub = tpm.attestation_key()
        contact = given.contact, given.contact_port or listener.getsockname()[1]
        registration = Registration(name, ek_pub, ek_crt, ak_pub, own.certificate, *contact)
        register(given.registrar, given.registrar_port, registration, tpm.activate)
    agent = Agent(name, own.public_key, lambda: AttestationTpm(given.tcti), given.firmware_log)
    return Server(listener, context, agent)


def serve() -> None:
    """Serve until something goes wrong. Raises AinosError and OSError."""
    given = settings(os.environ)
    family = socket.AF_INET6 if ":" in given.address else socket.AF_INET
    with socket.create_server(
        (given.address, given.port), family=family, backlog=_BACKLOG
    ) as listener:
        server = start(given, listener)
        print(f"registered as {server.agent.name}", flush=True)
        notify("READY=1")
        server.serve_forever(_IDLE_SECONDS)


def main() -> int:
    """Run the service."""
    return service.run("keylime", serve)


if __name__ == "__main__":
    sys.exit(main())
