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


CERTIFICATE = PEM.replace("PUBLIC KEY", "CERTIFICATE")
KEYLESS = """\
[publishers.ana]
trusted_root = "example"
identity = "ana@example.org"
issuer = "https://accounts.example.org"
"""
OTHER = "[publishers.bea]\n" + KEYLESS.partition("\n")[2]


def test_whoever_signs_by_certificate_arrives() -> None:
    certificates = f"[publishers.branch]\ncertificates = '''\n{CERTIFICATE}{CERTIFICATE}'''\n"
    settings, findings = machine(KEYLESS + certificates, "m.toml")
    assert [finding.message for finding in findings] == ["there is no trusted root example"]
    ana, branch = from_records(json.loads(json.dumps(settings["publishers"]))).values()
    assert (ana.trusted_root, ana.identity) == ("example", "ana@example.org")
    assert ana.issuer == "https://accounts.example.org"
    assert branch.certificates.count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ('key = "junk"', "m.toml:5: key is a public key"),
        ('certificates = "junk"', "m.toml:5: certificates is certificates in PEM form"),
        (f"key = '''{PEM}'''", "m.toml:3: identity and key exclude each other"),
        (f"certificates = '''{CERTIFICATE}'''", "m.toml:3: identity and certificates exclude"),
        (OTHER, "m.toml:7: identity is that of ana, too"),
    ],
)
def test_one_publisher_signs_in_one_way(text: str, finding: str) -> None:
    found = of_machine(f"{KEYLESS}{text}\n")
    assert any(line.startswith(finding) for line in found), found


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ('identity = "ana"', "m.toml:2: identity goes together with trusted_root and issuer"),
        ('issuer = "https://x"', "m.toml:2: issuer goes together with trusted_root and identity"),
        ('trusted_root = "x"', "m.toml:2: trusted_root goes together with identity and issuer"),
        ('identity = "a b"', "m.toml:2: identity is a URI or an e-mail address"),
        ('issuer = "example.org"', "m.toml:2: issuer is the URL of an OpenID Connect issuer"),
        ('trusted_root = "../x"', "m.toml:2: trusted_root is the name of a trusted root"),
    ],
)
def test_an_identity_is_whole(line: str, finding: str) -> None:
    assert finding in of_machine(f"[publishers.ana]\n{line}\n")


def test_what_ends_is_called_by_its_name() -> None:
    by_identity = Publisher("ana", identity="ana@example.org", revoked=True)
    by_authority = Publisher("branch", certificates=CERTIFICATE, not_after="2027-05-31")
    assert by_identity.objection("x", "model", TODAY) == "the identity of ana was revoked"
    expired = "the authority of branch expired after 2027-05-31"
    assert by_authority.objection("x", "model", TODAY) == expired


def test_one_kind_and_one_name_are_enough() -> None:
    text = '[publishers.acme]\nkinds = ["policy"]\nnames = ["a"]\n'
    (record,) = from_records(machine(text, "m.toml")[0]["publishers"]).values()
    assert of_machine(text) == []
    assert (record.key, record.not_after, record.revoked) == ("", "", False)
    assert (list(record.kinds), list(record.names)) == (["policy"], ["a"])


def test_a_record_that_is_none_restricts_nobody() -> None:
    assert from_records(None) == from_records({}) == {}


def test_without_a_table_there_is_nobody_to_restrict() -> None:
    assert machine("", "m.toml")[0]["publishers"] == []


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ('key = "junk"', "m.toml:2: key is a public key in PEM form"),
        ('kinds = ["shell"]', "m.toml:2: kinds "),
        ("kinds = []", "m.toml:2: kinds "),
        ("names = []", "m.toml:2: names "),
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
