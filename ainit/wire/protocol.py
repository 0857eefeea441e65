"""Varlink messages: framing, calls and replies (varlink.org, "Method Call and Reply").

A message is one JSON object followed by a NUL byte. ``Inbox`` cuts a byte stream into messages;
``Call`` types a request; ``reply`` and ``error`` build answers. No I/O happens here.

>>> Inbox().feed(call("org.example.Ping", {}))
[{'method': 'org.example.Ping', 'parameters': {}}]
"""

from __future__ import annotations

from ..constants import MESSAGE_BYTES
from ..errors import AinosError, WireError
from .codec import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "org.varlink.service"
INVALID_PARAMETER = SERVICE + ".InvalidParameter"
METHOD_NOT_FOUND = SERVICE + ".MethodNotFound"
INTERFACE_NOT_FOUND = SERVICE + ".InterfaceNotFound"
PERMISSION_DENIED = SERVICE + ".PermissionDenied"
FAULT = "org.ainos.Fault"  # the service erred, not the caller; its log says how

Message = dict[str, object]


class VarlinkError(AinosError):
    """An error reply: ``name`` is fully qualified, ``parameters`` as its interface declares."""

    def __init__(self, name: str, parameters: Mapping[str, object] | None = None) -> None:
        self.name = name
        self.parameters = dict(parameters or {})
        detail = ", ".join(f"{key}={value}" for key, value in self.parameters.items())
        super().__init__(f"{name}({detail})")


class Call:
    """A typed method call. ``more`` asks for several replies, ``oneway`` for none."""

    __slots__ = ("interface", "member", "method", "more", "oneway", "parameters")

    def __init__(self, message: Message) -> None:
        method = message.get("method")
        parameters = message.get("parameters")
        if not isinstance(method, str) or "." not in method:
            raise WireError("a call needs a fully qualified method")
        if parameters is None:
            parameters = {}
        if not isinstance(parameters, dict):
            raise WireError("the parameters of a call are an object")
        self.method = method
        self.interface, _, self.member = method.rpartition(".")
        self.parameters: Message = parameters
        self.more = message.get("more") is True
        self.oneway = message.get("oneway") is True

    def text(self, name: str) -> str:
        """The required string parameter ``name``; its absence is the caller's error."""
        value = self.parameters.get(name)
        if not isinstance(value, str):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": name})
        return value

    def optional_text(self, name: str) -> str | None:
        """The string parameter ``name``, or None when it is absent or null."""
        return None if self.parameters.get(name) is None else self.text(name)

    def number(self, name: str, default: int) -> int:
        """The integer parameter ``name``, or ``default`` when it is absent or null."""
        value = self.parameters.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": name})
        return value

    def flag(self, name: str) -> bool:
        """The boolean parameter ``name``; absent is false."""
        value = self.parameters.get(name)
        if value is not None and not isinstance(value, bool):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": name})
        return value is True


def encode(message: Mapping[str, object]) -> bytes:
    """One framed message. Raises WireError for what JSON cannot say."""
    try:
        return dumps(message).encode("ascii") + b"\0"
    except (TypeError, ValueError) as problem:
        raise WireError(f"not JSON: {problem}") from problem


def call(method: str, parameters: Mapping[str, object], *, more: bool = False) -> bytes:
    """A framed method call."""
    message: Message = {"method": method, "parameters": dict(parameters)}
    if more:
        message["more"] = True
    return encode(message)


def reply(parameters: Mapping[str, object], *, continues: bool = False) -> bytes:
    """A framed reply; ``continues`` promises another one."""
    message: Message = {"parameters": dict(parameters)}
    if continues:
        message["continues"] = True
    return encode(message)


def error(name: str, parameters: Mapping[str, object] | None = None) -> bytes:
    """A framed error reply."""
    return encode({"error": name, "parameters": dict(parameters or {})})


class Inbox:
    """Cuts a byte stream into messages. A peer cannot make it grow past the message limit."""

    __slots__ = ("_buffer", "_limit", "_seen")

    def __init__(self, limit: int = MESSAGE_BYTES) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._seen = 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by ``data``. Raises WireError for what is not a message."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        while (end := buffer.find(b"\0", self._seen)) >= 0:
            messages.append(self._parse(bytes(buffer[:end])))
            del buffer[: end + 1]
            self._seen = 0
        self._seen = len(buffer)
        if len(buffer) > self._limit:
            raise WireError(f"a message is longer than {self._limit} bytes")
        return messages

    def _parse(self, frame: bytes) -> Message:
        if len(frame) > self._limit:
            raise WireError(f"a message is longer than {self._limit} bytes")
        try:
            message = loads(frame)
        except ValueError as problem:
            raise WireError(f"not JSON: {problem}") from problem
        if not isinstance(message, dict):
            raise WireError("a message is a JSON object")
        return message


def interfaces_of(text: str) -> str:
    """The interface name that a varlink description declares."""
    for line in text.splitlines():
        if line.startswith("interface "):
            return line.removeprefix("interface ").strip()
    raise WireError("the description names no interface")
