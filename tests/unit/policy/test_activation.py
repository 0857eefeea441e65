"""Sockets, paths and devices of a unit file: what arrives, and what is wrong with it."""

from __future__ import annotations

import pytest

from ainit.policy import config

HEAD = '[service]\nexec = ["/bin/a"]\n'  # the first table below begins in line 3


def of(text: str) -> list[str]:
    return [
        str(finding).removeprefix("a.toml:")
        for finding in config.unit(HEAD + text, "a.toml", "a")[1]
    ]


def test_a_socket_has_defaults() -> None:
    text = '[[socket]]\nlisten = "unix-seqpacket:/run/a"\n[[socket]]\nlisten = "tcp:[::]:80"\n'
    text += '[[socket]]\nlisten = "unix-datagram:/run/b"\n'
    unit, findings = config.unit(HEAD + text, "a.toml", "a")
    assert findings == []
    assert unit.sockets == [
        {"listen": "unix-seqpacket:/run/a", "name": "a", "backlog": 128, "mode": 0o660},
        {"listen": "tcp:[::]:80", "name": "a", "backlog": 128},
        {"listen": "unix-datagram:/run/b", "name": "a", "backlog": 0, "mode": 0o660},
    ]
    assert not unit.is_triggered


def test_a_socket_on_demand_triggers() -> None:
    text = '[activation]\non_demand = true\n[[socket]]\nlisten = "unix:/run/a"\n'
    assert config.unit(HEAD + text, "a.toml", "a")[0].is_triggered


def test_each_kind_of_a_path_arrives() -> None:
    kinds = ("exists", "changed", "not_empty")
    text = "".join(f'[[path]]\n{kind} = "/x"\n' for kind in kinds)
    unit, findings = config.unit(HEAD + text, "a.toml", "a")
    assert findings == []
    assert unit.paths == [{"exists": "/x"}, {"changed": "/x"}, {"not-empty": "/x"}]


def test_paths_and_devices_trigger() -> None:
    for text in ('[[path]]\nchanged = "/etc/x"\n', '[[device]]\nSUBSYSTEM = "tty"\n'):
        unit, findings = config.unit(HEAD + text, "a.toml", "a")
        assert (findings, unit.is_triggered) == ([], True)


@pytest.mark.parametrize(
    ("text", "findings"),
    [
        ("[[socket]]\n", ["3: listen is missing"]),
        ('[[socket]]\nlisten = "/run/a"\n', ["4: listen has '/run/a': an address begins with"]),
        ("[[socket]]\nlisten = 1\n", ["4: listen is a string"]),
        (
            '[[socket]]\nlisten = "tcp:[::]:80"\nmode = "0600"\nport = 1\n',
            ["6: unknown key port (known: backlog", "5: mode is of Unix sockets"],
        ),
        (
            '[[socket]]\nlisten = "udp:[::]:80"\nbacklog = 5\n',
            ["5: backlog is of sockets that accept connections"],
        ),
        ('[[socket]]\nlisten = "unix:/a"\nmode = 384\n', ["5: mode is a string of octal"]),
        ('[[socket]]\nlisten = "unix:/a"\nname = "a:b"\n', ["5: name is a name of letters"]),
        ('[[socket]]\nlisten = "unix:/a"\nbacklog = 0\n', ["5: backlog is a whole number"]),
        (
            '[[socket]]\nlisten = "unix:/a"\n[[socket]]\nlisten = "unix:/a"\n',
            ["6: unix:/a is listened on twice"],
        ),
        ("[[socket]]\n[[socket]]\n", ["3: listen is missing", "4: listen is missing"]),
        ("[socket]\n", ["3: socket is an array of tables: [[socket]]"]),
        ("path = 1\n", ["3: unknown key path (known: after"]),
        ("[[path]]\n", ["3: a path has exactly one of exists, changed, not_empty"]),
        (
            '[[path]]\nexists = "/a"\nchanged = "b"\nmade = 1\n',
            [
                "5: changed is an absolute path",
                "6: unknown key made (known: changed",
                "3: a path has exactly one of",
            ],
        ),
        ("[[device]]\n", ['3: a device has udev properties: SUBSYSTEM = "tty"']),
        (
            "[[device]]\nsubsystem = 1\nDEVNAME = 1\n",
            ["4: subsystem is no udev property", "5: DEVNAME is a string"],
        ),
        ('[timer]\ncalendar = ["daily", 1]\n', ["4: calendar is an expression such as"]),
        ("[timer]\ncalendar = []\n", ["4: calendar is an expression such as"]),
        ('[timer]\ncalendar = ["daily", "*-02-30"]\n', ["4: calendar '*-02-30' never comes true"]),
    ],
)
def test_what_is_wrong(text: str, findings: list[str]) -> None:
    found = of(text)
    assert len(found) == len(findings)
    assert all(one.startswith(start) for one, start in zip(found, findings, strict=True)), found
