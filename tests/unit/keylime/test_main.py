"""The settings of the agent, and the unit that the documentation gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ainit.errors import ConfigError
from ainit.keylime.__main__ import settings
from ainit.policy import config

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/keylime.md"
GIVEN = {
    "KEYLIME_ADDRESS": "192.0.2.7",
    "KEYLIME_REGISTRAR": "registrar.example",
    "CREDENTIALS_DIRECTORY": "/run/c",
}


def test_the_unit_of_the_documentation_is_right_and_complete() -> None:
    (text,) = re.findall(r"^```toml\n((?:(?!```).*\n)*)```", DOCUMENT.read_text(), re.MULTILINE)
    unit, findings = config.unit(text, "keylime.toml", "keylime")
    assert findings == []
    environment = {**dict(unit.environment), "CREDENTIALS_DIRECTORY": "/run/c"}
    assert settings(environment).client_ca == "/run/c/client-ca"


def test_ports_have_keylimes_defaults() -> None:
    found = settings(GIVEN)
    assert (found.port, found.registrar_port) == (9002, 8890)


def test_every_wrong_setting_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        settings({"KEYLIME_PORT": "0", "KEYLIME_REGISTRAR_PORT": "x"})
    text = str(caught.value)
    for name in (*GIVEN, "KEYLIME_PORT", "KEYLIME_REGISTRAR_PORT"):
        assert name in text


def test_a_name_is_no_address_to_listen_at() -> None:
    with pytest.raises(ConfigError, match="no IP address"):
        settings({**GIVEN, "KEYLIME_ADDRESS": "node1.example"})


def test_another_address_may_lead_to_the_machine() -> None:
    found = settings(GIVEN)
    assert (found.contact, found.contact_port) == (found.address, found.port)
    more = {"KEYLIME_CONTACT": "198.51.100.1", "KEYLIME_CONTACT_PORT": "19002"}
    found = settings({**GIVEN, **more})
    assert (found.contact, found.contact_port) == ("198.51.100.1", 19002)
    assert (found.address, found.port) == ("192.0.2.7", 9002)
    with pytest.raises(ConfigError, match="KEYLIME_CONTACT is no IP address"):
        settings({**GIVEN, "KEYLIME_CONTACT": "node1.example"})
