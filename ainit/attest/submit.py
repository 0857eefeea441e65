"""Carries the conversation between a machine and a verifier over HTTPS: neither needs to reach the
other, and whoever carries it is believed nothing.

    with Client(path, timeout=60) as machine:
        verdict = submit(machine, Https("verifier.example", 8443, context), "node1")
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

from ..errors import RefusedError, UnavailableError, WireError
from ..wire import codec
from .enrol import Caller

ANSWER_BYTES = 1 << 20
Record = Mapping[str, object]


class Verifier(Protocol):
    """Whom the conversation is carried to."""

    def post(self, path: str, record: Record) -> Record:
        """The answer to a request."""


class Https:
    """A verifier's address. Raises UnavailableError when it cannot be reached or is no verifier,
    RefusedError with its own words when it says no.
    """

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, timeout: float = 60.0
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._timeout = timeout

    def post(self, path: str, record: Record) -> Record:
        """One request on a connection of its own."""
        where = f"{self._host}:{self._port}"
        channel = http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout, context=self._context
        )
        try:
            channel.request("POST", path, codec.dumps(record).encode())
            reply = channel.getresponse()
            answer = codec.loads(reply.read(ANSWER_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"the verifier at {where} cannot be asked: {error}") from error
        except ValueError as error:
            raise UnavailableError(f"{where} is no verifier: {error}") from error
        finally:
            channel.close()
        if not isinstance(answer, dict):
            raise UnavailableError(f"{where} is no verifier")
        if reply.status != HTTPStatus.OK:
            raise RefusedError(f"the verifier says: {answer.get('error', reply.reason)}")
        return answer


def submit(machine: Caller, verifier: Verifier, name: str) -> Record:
    """Have the verifier judge the machine; returns the verdict in its JSON form.

    Raises what ``Https`` and the client of the machine raise, and WireError for an answer of either
    that is not what it should be.
    """
    nonce = _text(verifier.post("/v1/nonce", {}), "nonce")
    evidence = machine.call("org.ainos.Attest.Evidence", {"nonce": nonce})
    asked = verifier.post("/v1/challenge", {"machine": name, "files": evidence.get("files")})
    answer = machine.call(
        "org.ainos.Attest.Activate",
        {"credential": _text(asked, "credential"), "secret": _text(asked, "secret")},
    )
    told = {"challenge": _text(asked, "challenge"), "secret": _text(answer, "secret")}
    return verifier.post("/v1/answer", told)


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise WireError(f"the answer has no {key}")
    return value
