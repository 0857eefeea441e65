"""The edges of each check of a single value."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.policy import limit_values, listen, values
from ainit.policy.values import Check


class ToldError(Exception):
    """A message that follows the name of a key."""


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def refused(check: Check, value: object) -> str:
    with pytest.raises(ValueError, match=r"^(is|has) ") as caught:
        check(value)
    return str(caught.value)


CHECKS = (
    values.text, values.flag, values.number(0, 1), values.whole(0, 1), values.one_of(("a",)),
    values.list_of(values.flag, 1), values.names, values.interfaces, values.path, values.size(1),
    values.percent(1, 5), values.whole_percent(1, 5), values.octal, values.signal, values.group,
    values.capability, values.account, values.number_list(3), values.environment,
    values.credentials, values.address(*listen.KINDS), limit_values.limits, limit_values.io_max,
)  # fmt: skip


@given(st.sampled_from(CHECKS), json)
def test_any_value_passes_or_is_told_what_it_should_be(check: Check, value: object) -> None:
    with suppress(ToldError):
        try:
            check(value)
        except ValueError as error:
            raise (
                ToldError if str(error).startswith(("is ", "has ")) else AssertionError
            ) from error


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (values.number(0, 1), 1, 1.0),
        (values.whole(-1, 1), -1, -1),
        (values.size(1), "1", 1),
        (values.size(0), "0", 0),
        (values.size(1), "3K", 3 << 10),
        (values.size(1), "1048576T", 1 << 60),
        (values.percent(0.1, 100), 0.1, 0.1),
        (values.percent(0.1, 100), "99.5%", 99.5),
        (values.whole_percent(1, 200), "150%", 150),
        (values.whole_percent(1, 200), 150, 150),
        (values.octal, "0777", 0o777),
        (values.octal, "022", 0o022),
        (values.signal, "SYS", 31),
        (values.signal, "HUP", 1),
        (values.capability, "CAP_CHECKPOINT_RESTORE", "CAP_CHECKPOINT_RESTORE"),
        (values.account, 4294967294, 4294967294),
        (values.account, "_apt", "_apt"),
        (values.user, 61183, 61183),
        (values.user, "_apt", "_apt"),
        (values.group, 7, "7"),
        (values.number_list(8), "0-3,8", "0-3,8"),
        (values.number_list(8), "8-8", "8-8"),
        (values.path, "/", "/"),
        (values.path, "/" + "x" * 4094, "/" + "x" * 4094),
        (values.path, "/a/..b", "/a/..b"),
        (values.credentials, {"a.b_c-d": "/x"}, {"a.b_c-d": "/x"}),
        (values.address("unix"), "unix:/run/x", "unix:/run/x"),
        (values.address("unix"), "unix:/" + "x" * 106, "unix:/" + "x" * 106),
        (values.address("tcp"), "tcp:0.0.0.0:65535", "tcp:0.0.0.0:65535"),
        (values.address("udp"), "udp:[::]:1", "udp:[::]:1"),
        (limit_values.limits, {"nofile": 0, "core": "infinity"}, {"nofile": 0, "core": -1}),
        (limit_values.limits, {"nofile": 1 << 60}, {"nofile": 1 << 60}),
        (limit_values.limits, {"as": "0"}, {"as": 0}),
        (limit_values.limits, {"as": "1G"}, {"as": 1 << 30}),
        (limit_values.io_max, {"/dev/vda": {}}, {"/dev/vda": {}}),
        (
            limit_values.io_max,
            {"8:0": {"read_bps": "1", "write_bps": "1", "read_iops": 1, "write_iops": 1}},
            {"8:0": {"rbps": 1, "wbps": 1, "riops": 1, "wiops": 1}},
        ),
        (
            limit_values.io_max,
            {"8:0": {"read_bps": "1M", "write_bps": "2", "read_iops": 3, "write_iops": 4}},
            {"8:0": {"rbps": 1 << 20, "wbps": 2, "riops": 3, "wiops": 4}},
        ),
    ],
)
def test_what_passes(check: Check, value: object, result: object) -> None:
    found = check(value)
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (values.text, "a\0", "is a string"),
        (values.path, "a", "is an absolute path"),
        (values.path, "/a//b", "is an absolute path, without . and .."),
        (values.path, "/a/./b", "is an absolute path"),
        (values.path, "/a/..", "is an absolute path"),
        (values.path, "/a/", "is an absolute path"),
        (values.path, "/" + "x" * 4095, "is an absolute path"),
        (values.size(1), "0", 'is a size such as "512M"'),
        (values.size(1), "1048577T", "is a size"),
        (values.size(1), "\u0661", "is a size"),
        (values.percent(1, 5), "6%", 'is from "1%" to "5%"'),
        (values.percent(1, 5), "3", 'is from "1%"'),
        (values.percent(1, 5), True, 'is from "1%"'),
        (values.percent(1, 5), float("nan"), 'is from "1%"'),
        (values.octal, "1777", "is a string of octal digits"),
        (values.octal, "77", "is a string of octal digits"),
        (values.octal, 0o22, "is a string of octal digits"),
        (values.account, 4294967295, "is a name or a number"),
        (values.account, "0", "is a name or a number"),
        (values.account, False, "is a name or a number"),
        (values.user, 61184, "is none from 61184 to 65519: those are agents' and jobs'"),
        (values.user, 65519, "is none from 61184 to 65519"),
        (values.user, True, "is a name or a number"),
        (values.number_list(8), "9", "has 9: ranges run upwards, and the highest is 8"),
        (values.number_list(8), "1-2-3", 'is a list such as "0-3,8"'),
        (values.number_list(8), 1, 'is a list such as "0-3,8"'),
        (values.credentials, {"..": "/x"}, "is a table whose keys are file names"),
        (values.credentials, {"a": 1}, "is a table of which each value is a string"),
        (values.address("unix"), "unix:run", "has an absolute path of at most 107 bytes"),
        (values.address("unix"), "unix:/" + "x" * 107, "has an absolute path of at most 107"),
        (values.address("unix"), "unix:/run/../x", "is an absolute path, without . and .."),
        (values.address("unix"), "tcp:1.2.3.4:5", "has 'tcp': an address begins with one of unix"),
        (values.address("tcp"), "tcp:1.2.3.4", "has a port from 1 to 65535 at its end"),
        (values.address("tcp"), "tcp:1.2.3.4:0", "has a port from 1 to 65535"),
        (values.address("tcp"), "tcp:1.2.3.4:\u0661", "has a port from 1 to 65535"),
        (values.address("tcp"), "tcp:1.2.3.4:65536", "has a port from 1 to 65535"),
        (values.address("tcp"), "tcp:1.2.3.4:000080", "has a port from 1 to 65535"),
        (values.address("tcp"), "tcp:localhost:80", "has localhost, which is no numeric address"),
        (values.address("tcp"), "tcp:::1:80", "has ::1, which is no numeric address"),
        (values.address("tcp"), "tcp:[::1:80", "has [::1, which is no numeric address"),
        (values.address("tcp"), "tcp:::1]:80", "has ::1], which is no numeric address"),
        (values.address("tcp"), "tcp:1.2.3.4:+80", "has a port from 1 to 65535"),
        (values.address("tcp"), "tcp:[1.2.3.4]:80", "has 1.2.3.4, which is no numeric address"),
        (values.address("tcp"), "tcp:[fe80::1%eth0]:80", "has fe80::1%eth0, which is no numeric"),
        (limit_values.limits, [], "is a table of limits"),
        (limit_values.limits, {"files": 1}, "has no limit files; there are cpu, "),
        (limit_values.limits, {"nofile": -1}, "has nofile, which is a whole number"),
        (limit_values.limits, {"nofile": True}, "has nofile, which is a whole number"),
        (limit_values.limits, {"nofile": "1K"}, "has nofile, which is a whole number"),
        (limit_values.limits, {"as": "1X"}, "has as, which is a whole number"),
        (limit_values.io_max, [], "is a table of devices, each a table of limits"),
        (limit_values.io_max, {"8:0": 1}, "is a table of devices, each a table of limits"),
        (limit_values.io_max, {"vda": {}}, "has 'vda': a device is MAJOR:MINOR or a path"),
        (limit_values.io_max, {"8:0": {"x": 1}}, "has x; there are read_bps, "),
        (limit_values.io_max, {"8:0": {"read_bps": 1}}, "has read_bps, which is a size"),
    ],
)
def test_what_does_not(check: Check, value: object, message: str) -> None:
    assert refused(check, value).startswith(message)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("unix:/run/a:b", ("unix", "stream", "/run/a:b", 0)),
        ("unix-datagram:/x", ("unix", "datagram", "/x", 0)),
        ("unix-seqpacket:/x", ("unix", "seqpacket", "/x", 0)),
        ("tcp:1.2.3.4:5", ("inet", "stream", "1.2.3.4", 5)),
        ("udp:[::1]:53", ("inet6", "datagram", "::1", 53)),
    ],
)
def test_the_parts_of_an_address(text: str, parts: tuple[str, str, str, int]) -> None:
    assert listen.address(text) == parts
