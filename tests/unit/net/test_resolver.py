from __future__ import annotations

from ainit.net.resolver import first, resolv_conf


def test_the_best_servers_come_first_and_only_once() -> None:
    content = resolv_conf(["10.0.0.1", "fd00::1", "10.0.0.1", "", "10.0.0.2", "10.0.0.3"], ["a.b"])
    assert content.decode().splitlines()[1:] == [
        "nameserver 10.0.0.1",
        "nameserver fd00::1",
        "nameserver 10.0.0.2",
        "search a.b",
    ]


def test_no_servers_are_a_file_without_any() -> None:
    assert resolv_conf([], []) == b"# Written by the network service.\n"
    assert first([], 3) == ()
