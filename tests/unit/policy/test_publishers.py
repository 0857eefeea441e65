"""Who may sign what: every key arrives, every finding comes at once, and rights are kept."""

from __future__ import annotations

import datetime
import json

import pytest

from ainit.policy.machine_config import machine
from ainit.policy.publishers import Publisher, from_records

TODAY = datetime.date(2027, 6, 1)
PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
TEXT = f"""\
[publishers.acme]
key = '''
{PEM}'''
kinds = ["model", "policy"]
names = ["speech", "acme-*"]
not_after = 2027-12-31

[publishers.ainos]
revoked = true
"""


def of_machine(text: str) -> list[str]:
    return [str(finding) for finding in machine(text, "m.toml")[1]]


def test_every_key_arrives_through_json() -> None:
    settings, findings = machine(TEXT, "m.toml")
    assert findings == []
    found = from_records(json.loads(json.dumps(settings["publishers"])))
    assert found["acme"].key.strip() == PEM.strip()
    assert list(found["acme"].kinds) == ["model", "policy"]
    assert list(found["acme"].names) == ["speech", "acme-*"]
    assert found["acme"].not_after == "2027-12-31"
    assert found["ainos"] == Publisher(
        "ainos", kinds=["model", "policy", "extension"], names=["*"], revoked=True
    )


def test_without_a_table_there_is_nobody_to_restrict() -> None:
    assert machine("", "m.toml")[0]["publishers"] == []


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ('key = "junk"', "m.toml:2: key is a public key in PEM form"),
        ('kinds = ["shell"]', "m.toml:2: kinds "),
        ("kinds = []", "m.toml:2: kinds "),
        ('names = ["../x"]', "m.toml:2: names "),
        ('not_after = "soon"', "m.toml:2: not_after is a date, like 2027-12-31"),
        ("not_after = 2027-12-31T00:00:00Z", "m.toml:2: not_after is a date, like 2027-12-31"),
        ("revoked = 1", "m.toml:2: revoked "),
        ("colour = 1", "m.toml:2: unknown key colour"),
    ],
)
def test_a_wrong_value_is_found_with_its_line(line: str, finding: str) -> None:
    (found,) = of_machine(f"[publishers.acme]\n{line}\n")
    assert found.startswith(finding)


def test_every_wrong_table_is_found() -> None:
    assert [line.split(": ")[1] for line in of_machine("[publishers]\nacme = 1\nA = 2\n")] == [
        "acme is a table",
        "A is no name of a publisher",
    ]
    assert of_machine("publishers = 1\n") == ["m.toml:1: publishers is a table"]


@pytest.mark.parametrize(
    ("rights", "objection"),
    [
        ({}, ""),
        ({"revoked": True}, "the key of acme was revoked"),
        ({"not_after": "2027-05-31"}, "the key of acme expired after 2027-05-31"),
        ({"not_after": "2027-06-01"}, ""),
        ({"kinds": ["policy"]}, "acme may not sign a model, only policy"),
        ({"kinds": ["policy", "model"]}, ""),
        ({"names": ["vision", "sp"]}, "acme may not sign speech, only vision, sp"),
        ({"names": ["sp*"]}, ""),
        ({"names": ["s?eech"]}, ""),
    ],
)
def test_rights(rights: dict[str, object], objection: str) -> None:
    publisher = Publisher("acme", **rights)  # type: ignore[arg-type]
    assert publisher.objection("speech", "model", TODAY) == objection
