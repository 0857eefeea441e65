"""The settings of the service, and where it listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ainit.errors import ConfigError
from ainit.policy import config
from ainit.policy.plan import SETTINGS
from ainit.policy.remote import Operator
from ainit.remote.__main__ import listening, settings
from ainit.wire.codec import dumps

UNIT = Path(__file__).resolve().parents[3] / "rootfs-overlay/usr/lib/ainos/units/remote.toml"
OPERATOR = {"name": "a", "role": "admin", "certificate": "x"}


def test_the_table_comes_in_the_environment() -> None:
    record = {"listen": "tcp:127.0.0.1:7443", "operators": [OPERATOR]}
    found = settings({SETTINGS: dumps(record)})
    assert found == ("tcp:127.0.0.1:7443", [Operator("a", "admin", "x")])


@pytest.mark.parametrize(
    "text", ["", "null", "{}", "junk", '{"listen": "x", "operators": [{"name": "a"}]}']
)
def test_without_the_table_it_says_so(text: str) -> None:
    with pytest.raises(ConfigError, match=r"the machine configuration needs \[remote\]"):
        settings({SETTINGS: text})
    with pytest.raises(ConfigError):
        settings({})


@pytest.mark.parametrize(
    ("where", "family"),
    [
        ("tcp:203.0.113.9:17443", socket.AF_INET),
        ("tcp:[2001:db8::9]:17443", socket.AF_INET6),
    ],
)
def test_it_listens_at_an_address_that_comes_later(
    where: str, family: socket.AddressFamily
) -> None:
    """A lease may come after it; and a machine that nobody can reach cannot be mended."""
    with listening(where) as listener:
        assert listener.family == family
        assert listener.getsockname()[1] == 17443


def test_a_port_that_is_taken_is_an_error() -> None:
    with listening("tcp:127.0.0.1:17444"), pytest.raises(OSError, match="in use"):
        listening("tcp:127.0.0.1:17444")


def test_it_is_never_given_up() -> None:
    unit, findings = config.unit(UNIT.read_text(), "remote.toml", "remote")
    assert findings == []
    assert (unit.backoff_limit, unit.restart, unit.configured_by) == (0, "always", "remote")
