"""Hosts and ports of a manifest as sockets of the agent's: addresses, names, calls, the record."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence

import pytest

from ainit.constants import HANDED_BYTES
from ainit.linux import native, rtnetlink
from ainit.policy.sandbox_config import PEERS_MAX
from ainit.sandbox import endpoints
from ainit.sandbox.facts import Facts
from ainit.sandbox.operation import Operation

LISTED = [
    ("192.0.2.7", 443), ("a.example.org", 443), ("2001:db8::7", 80), ("b.example.org", 1),
    ("a.example.org", 80), ("192.0.2.7", 80),
]  # fmt: skip


def facts(free: int = 5) -> Facts:
    return Facts("notes", 61184, free=free, root="/r", channels={"egress": 77})


def calls(operations: Sequence[Operation]) -> list[tuple[object, ...]]:
    return [call for each in operations for call in each._calls]


def test_each_name_has_an_address_by_its_position_and_one_only() -> None:
    assert [each.address for each in endpoints.listed(LISTED)] == [
        "192.0.2.7", "127.64.0.1", "2001:db8::7", "127.64.0.2", "127.64.0.1", "192.0.2.7",
    ]  # fmt: skip
    many = endpoints.listed([(f"n{number}.example.org", 1) for number in range(300)])
    assert len({each.address for each in many}) == 300
    assert (many[254].address, many[255].address) == ("127.64.0.255", "127.64.1.0")


def test_the_channel_comes_before_what_the_steps_open() -> None:
    assert (facts().channel("egress"), facts().free) == (5, 6)


def test_a_few_calls_for_each_and_nothing_is_left() -> None:
    made = calls([*endpoints.operations(endpoints.listed(LISTED), facts())])
    assert [call[0] for call in made] == [
        *[native.SOCKET, native.BIND, native.LISTEN] * 6, native.SENDMSG, native.CLOSE_RANGE,
    ]  # fmt: skip
    assert made[1][1:] == (6, rtnetlink.socket_address("192.0.2.7", 443), 16)
    assert made[7][1:] == (8, rtnetlink.socket_address("2001:db8::7", 80), 28)
    assert made[-1][1:] == (6, 11, 0)


def test_the_record_names_them_in_the_order_of_the_descriptors() -> None:
    *_, sent, _ = calls([*endpoints.operations(endpoints.listed(LISTED), facts())])
    record = sent[2][2][0]  # type: ignore[index]
    assert json.loads(record) == {
        "agent": "notes",
        "endpoints": [
            "192.0.2.7:443", "a.example.org:443", "[2001:db8::7]:80", "b.example.org:1",
            "a.example.org:80", "192.0.2.7:80",
        ],
    }  # fmt: skip


def test_the_longest_list_can_be_handed_over() -> None:
    longest = [(".".join(["a" * 60] * 4) + f".n{number}", 65535) for number in range(PEERS_MAX)]
    *_, sent, _ = calls([*endpoints.operations(endpoints.listed(longest), facts())])
    assert len(sent[2][2][0]) <= HANDED_BYTES  # type: ignore[index]


def test_the_loopback_has_each_numeric_address_once() -> None:
    (opened, written, closed) = endpoints.up(endpoints.listed(LISTED), facts())
    assert opened[:2] == (native.SOCKET, socket.AF_NETLINK)
    content = rtnetlink.up() + rtnetlink.address("192.0.2.7") + rtnetlink.address("2001:db8::7")
    assert written == (native.WRITE, None, content, len(content))
    assert closed == (native.CLOSE, 6)


def test_the_hosts_file_has_the_names_and_the_loopback() -> None:
    (step,) = endpoints.names(endpoints.listed(LISTED), facts())
    _, written, _, mounted = step._calls
    assert written[2] == (
        b"127.0.0.1\tlocalhost\n::1\tlocalhost\n"
        b"127.64.0.1\ta.example.org\n127.64.0.2\tb.example.org\n"
    )
    assert mounted[1:3] == ("run/hosts", "etc/hosts")
    assert [*endpoints.names(endpoints.listed([("192.0.2.7", 1)]), facts())] == []


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("192.0.2.7", 443, "020001bbc0000207" + "00" * 8),
        ("2001:db8::7", 80, "0a000050" + "00000000" + "20010db8" + "00" * 11 + "07" + "00000000"),
    ],
)
def test_addresses_as_the_kernel_takes_them(host: str, port: int, expected: str) -> None:
    assert rtnetlink.socket_address(host, port).hex() == expected
