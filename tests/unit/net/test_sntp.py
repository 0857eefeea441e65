from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import DeadlineError, UnavailableError, WireError
from ainit.net import sntp

NONCE = bytes(range(8))


def stamp(seconds: float) -> bytes:
    whole = int(seconds) + sntp.EPOCH
    fraction = int((seconds % 1) * (1 << 32))
    return (whole % (1 << 32)).to_bytes(4, "big") + fraction.to_bytes(4, "big")


def answer(
    nonce: bytes = NONCE,
    *,
    arrived: float = 0,
    left: float = 0,
    head: int = 0x24,
    stratum: int = 2,
    code: bytes = b"TEST",
) -> bytes:
    start = bytes([head, stratum, 6, 0xEC]) + bytes(8) + code + bytes(8)
    return start + nonce + stamp(arrived) + stamp(left)


def test_the_offset_is_that_of_the_middle() -> None:
    now = 1_800_000_000.0
    packet = answer(arrived=now + 10.25, left=now + 10.5)
    found = sntp.interpret(packet, NONCE, "x", now, now + 1.25)
    assert (found.offset, found.delay, found.stratum) == (9.75, 1.0, 2)


def test_the_era_after_2036_is_known() -> None:
    late = 2_200_000_000.0  # 2039
    found = sntp.interpret(answer(arrived=late, left=late), NONCE, "x", late - 5, late - 5)
    assert found.offset == 5


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"", "no SNTP answer"),
        (answer()[:47], "no SNTP answer"),
        (answer(head=0x23), "no SNTP answer"),  # a client's request come back
        (answer(bytes(8)), "another question"),
        (answer(stratum=0, code=b"RATE"), r"left alone \(RATE\)"),
        (answer(stratum=16), "does not know the time"),
        (answer(head=0xE4), "does not know the time"),
    ],
)
def test_what_is_no_good_answer_is_refused(packet: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        sntp.interpret(packet, NONCE, "x", 0, 0)


@given(packet=st.binary(max_size=80))
def test_any_bytes_are_an_answer_or_refused(packet: bytes) -> None:
    with pytest.raises(WireError):
        sntp.interpret(packet, b"\xff" * 8 if NONCE in packet else NONCE, "x", 0, 0)


@contextmanager
def server(reply: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """A time server on the loopback that answers one question."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", 0))
        channel.settimeout(30)

        def work() -> None:
            request, address = channel.recvfrom(512)
            if (packet := reply(request)) is not None:
                channel.sendto(packet, address)

        thread = threading.Thread(target=work)
        thread.start()
        yield channel.getsockname()[1]
        thread.join()


def test_a_server_is_asked() -> None:
    requests: list[bytes] = []

    def reply(request: bytes) -> bytes:
        requests.append(request)
        return answer(request[40:48], arrived=1_900_000_000, left=1_900_000_000)

    with server(reply) as port:
        found = sntp.ask("127.0.0.1", port=port)
    assert found.server == "127.0.0.1"
    assert len(requests[0]) == 48
    assert requests[0][0] == 0x23
    assert found.offset != 0


def test_a_server_that_is_silent_is_not_waited_for() -> None:
    with server(lambda _: None) as port, pytest.raises(DeadlineError, match="no answer in"):
        sntp.ask("127.0.0.1", 0.05, port=port)


def test_a_port_where_nobody_listens_and_a_name_that_is_none() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(UnavailableError):
        sntp.ask("127.0.0.1", 5, port=port)
    with pytest.raises(UnavailableError):
        sntp.ask("not a name.invalid", 5)
