"""Every address of a name is judged and tried; each has its reason."""

from __future__ import annotations

import socket

import pytest

from ainit.egress import dial as module
from ainit.egress.dial import dial, refusal
from ainit.errors import UnavailableError
from ainit.policy import destinations

Found = tuple[int, int, int, str, tuple[object, ...]]


def found(*addresses: str) -> list[Found]:
    return [
        (socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, 80))
        for each in addresses
    ]


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found(*addresses))


def test_each_address_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, "127.0.0.1", "169.254.169.254", "127.0.0.1")
    with pytest.raises(UnavailableError) as raised:
        dial("notes.example.org", 80)
    assert str(raised.value) == (
        "127.0.0.1 is a loopback address; 169.254.169.254 is a link-local address"
    )


def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> list[Found]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(UnavailableError, match="has no address: Name or service not known"):
        dial("notes.example.org", 80)


def test_the_machine_s_own_addresses_are_the_kernel_s_to_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(destinations, "kind", lambda _: "")
    assert refusal(socket.AF_INET, "127.0.0.1") == "is the machine's own address"
    assert refusal(socket.AF_INET, "192.0.2.77") == ""


def test_where_it_is_let_through_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "refusal", lambda *_: "")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        resolve(monkeypatch, "127.0.0.2", "127.0.0.1")  # nobody listens at the first one
        channel, address = dial("notes.example.org", port)
        with channel, listener.accept()[0]:
            assert address == "127.0.0.1"
            assert not channel.getblocking()


def test_a_wait_for_nobody_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, "192.0.2.77")
    with pytest.raises(UnavailableError, match="not waited for"):
        dial("notes.example.org", 80, is_over=lambda: True)
