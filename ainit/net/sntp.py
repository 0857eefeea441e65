"""A client of the Simple Network Time Protocol (RFC 4330): one question, one answer, a deadline.

The request carries a random transmit time instead of the real one, and the answer must repeat it:
nobody who cannot see the request can set the clock.
"""

from __future__ import annotations

import secrets
import socket
import time
from dataclasses import dataclass

from ..errors import DeadlineError, UnavailableError, WireError

PORT = 123
PACKET = 48
EPOCH = 2_208_988_800  # seconds from 1900 to 1970
_ERA = 1 << 32
_PIVOT = 1_700_000_000  # no answer is from before this software was written (end of 2023)
_MODE_CLIENT, _MODE_SERVER, _VERSION = 3, 4, 4
_UNSYNCHRONISED = 3


@dataclass(frozen=True)
class Answer:
    """``offset`` is what to add to the clock, ``delay`` the time on the way; both in seconds."""

    server: str
    stratum: int
    offset: float
    delay: float


def request(nonce: bytes) -> bytes:
    """A request whose transmit time is the 8 bytes ``nonce``."""
    return bytes([_VERSION << 3 | _MODE_CLIENT]).ljust(40, b"\0") + nonce


def interpret(packet: bytes, nonce: bytes, server: str, sent: float, received: float) -> Answer:
    """What an answer says; ``sent`` and ``received`` are readings of the clock in question.

    Raises WireError for a packet that is not an answer to this request, or from a server that does
    not know the time itself.
    """
    if len(packet) < PACKET or packet[0] & 7 != _MODE_SERVER:
        raise WireError(f"{server}: no SNTP answer")
    if packet[24:32] != nonce:
        raise WireError(f"{server}: an answer to another question")
    stratum = packet[1]
    if stratum == 0:
        code = packet[12:16].decode("ascii", "replace")
        raise WireError(f"{server}: asks to be left alone ({code})")
    if stratum > 15 or packet[0] >> 6 == _UNSYNCHRONISED:
        raise WireError(f"{server}: does not know the time itself")
    arrived, left = _seconds(packet[32:40]), _seconds(packet[40:48])
    return Answer(
        server=server,
        stratum=stratum,
        offset=((arrived - sent) + (left - received)) / 2,
        delay=max(0.0, (received - sent) - (left - arrived)),
    )


def _seconds(stamp: bytes) -> float:
    """Seconds since 1970; the era is the one that makes the time later than this software."""
    seconds = int.from_bytes(stamp[:4], "big") - EPOCH
    while seconds < _PIVOT:
        seconds += _ERA
    return seconds + int.from_bytes(stamp[4:], "big") / _ERA


def ask(server: str, seconds: float = 5.0, *, port: int = PORT) -> Answer:
    """The answer of one server, an address or a name; blocks, but never longer than the deadline.

    Looking up a name has the resolver's own deadline on top. Raises UnavailableError (DeadlineError
    when nothing came in time) or WireError.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            server, port, type=socket.SOCK_DGRAM
        )[0]
    except OSError as error:
        raise UnavailableError(f"{server}: {error.strerror or error}") from error
    nonce = secrets.token_bytes(8)
    with socket.socket(family, kind, protocol) as channel:
        try:
            channel.connect(address)  # the kernel drops what comes from elsewhere
            channel.settimeout(seconds)
            sent, start = time.time(), time.monotonic()
            channel.send(request(nonce))
            packet = channel.recv(512)
            received = sent + time.monotonic() - start
        except TimeoutError as error:
            raise DeadlineError(f"{server}: no answer in {seconds:g} s") from error
        except OSError as error:
            raise UnavailableError(f"{server}: {error.strerror or error}") from error
    return interpret(packet, nonce, server, sent, received)
