"""The machine's end of remote control, started by PID 1 when the configuration has ``[remote]``.

AINOS_SETTINGS   that table as JSON: where to listen, and for whom
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from ..child import service, tls
from ..child.client import local
from ..child.notify import notify
from ..constants import CHANNEL, CONTROL, TPM_DEVICE
from ..errors import AinosError, ConfigError, Finding
from ..linux import kmsg
from ..policy import listen, remote
from ..policy.plan import SETTINGS
from ..wire.codec import loads
from .gateway import Gateway
from .identity import identity
from .operators import Operators

_BACKLOG = 64
_FREEBIND = socket.IPPROTO_IP, 15  # IP_FREEBIND (ip(7))
_FREEBIND_SIX = socket.IPPROTO_IPV6, 78  # IPV6_FREEBIND


@dataclass(frozen=True, slots=True)
class Place:
    """What the service uses of the machine."""

    channel: str = CHANNEL
    control: str = CONTROL
    tcti: str = f"device:{TPM_DEVICE}"


def settings(environment: Mapping[str, str]) -> tuple[str, list[remote.Operator]]:
    """Where to listen, and for whom. Raises ConfigError."""
    try:
        return remote.from_record(loads(environment.get(SETTINGS, "null")))
    except (KeyError, ValueError) as error:
        text = f"{SETTINGS} holds no settings: the machine configuration needs [remote]"
        raise ConfigError([Finding("environment", 0, text)]) from error


def listening(where: str) -> socket.socket:
    """The socket at an address, which the machine need not have yet. Raises OSError."""
    family, _, host, port = listen.address(where, ("tcp",))
    is_six = family == listen.INET6
    listener = socket.socket(socket.AF_INET6 if is_six else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(*(_FREEBIND_SIX if is_six else _FREEBIND), 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def gateway(
    operators: list[remote.Operator], listener: socket.socket, place: Place | None = None
) -> Gateway:
    """The service on a listening socket, with the machine's key. Raises AinosError or OSError."""
    from ..attest.quote import AttestationTpm  # two seconds on an emulated processor

    place = place or Place()
    with AttestationTpm(place.tcti) as tpm:
        identity(place.channel, tpm)
        certificate = tpm.endorsement_certificate()
    ek = hashlib.sha256(certificate).hexdigest() if certificate else "none"
    kmsg.log(f"remote control; endorsement key certificate, SHA-256: {ek}")
    known = Operators.of(operators)
    for fault in known.faults:
        print(fault, file=sys.stderr, flush=True)
    if not known.trusted:
        raise AinosError("no operator has a certificate that can be used")
    context = tls.server(place.channel, place.channel, known.trusted)
    return Gateway(listener, context, known, partial(local, place.control, None))


def serve() -> None:
    """Serve until something goes wrong. Raises AinosError and OSError."""
    where, operators = settings(os.environ)
    with listening(where) as listener:
        serving = gateway(operators, listener)
        notify("READY=1")
        serving.serve()


def main() -> int:
    """Run the service."""
    return service.run("remote", serve)


if __name__ == "__main__":
    sys.exit(main())
