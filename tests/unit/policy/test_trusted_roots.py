"""Trusted roots: what Sigstore publishes is read, all else is found with its line."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable

import pytest

from ainit.policy import trusted_roots
from ainit.policy.machine_config import machine
from ainit.policy.trusted_roots import Window
from tests.support.sigstore import MOMENT, YEAR, Json, Sigstore, base64_text

SIGSTORE = Sigstore()


def configured(text: str) -> str:
    return f"[trusted_roots]\nexample = '''\n{text}'''\n"


def test_what_is_in_a_root_is_read() -> None:
    end = MOMENT + YEAR
    found = trusted_roots.parse(json.dumps(SIGSTORE.trusted_root(end)))
    (authority,) = found.authorities
    assert len(authority.certificates) == 2
    assert authority.window == Window(MOMENT - YEAR, end)
    assert [log.id for log in found.logs] == [SIGSTORE.log.id]
    assert [log.window.end for log in found.certificate_logs] == [None]


def test_a_window_holds_its_ends() -> None:
    second = datetime.timedelta(seconds=1)
    window = Window(MOMENT, MOMENT + YEAR)
    assert window.holds(MOMENT)
    assert window.holds(MOMENT + YEAR)
    assert not window.holds(MOMENT - second)
    assert not window.holds(MOMENT + YEAR + second)
    assert Window(MOMENT, None).holds(MOMENT + 100 * YEAR)


def test_a_log_whose_keys_are_not_used_is_left_out() -> None:
    root = SIGSTORE.trusted_root()
    other = json.loads(json.dumps(root["tlogs"][0]))
    other["publicKey"]["keyDetails"] = "PKIX_ED25519"
    root["tlogs"].append(other)
    assert len(trusted_roots.parse(json.dumps(root)).logs) == 1
    root["tlogs"] = [other]
    with pytest.raises(ValueError, match="a log of signatures or one of certificates is missing"):
        trusted_roots.parse(json.dumps(root))


def test_a_root_arrives_for_the_publisher_who_names_it() -> None:
    text = json.dumps(SIGSTORE.trusted_root())
    publisher = (
        '[publishers.ana]\ntrusted_root = "example"\nidentity = "ana@example.org"\n'
        'issuer = "https://accounts.example.org"\n'
    )
    settings, findings = machine(configured(text) + publisher, "m.toml")
    assert findings == []
    assert settings["trusted_roots"] == {"example": text}
    (found,) = machine(publisher, "m.toml")[1]
    assert str(found) == "m.toml:2: there is no trusted root example"


def log(root: Json) -> Json:
    found: Json = root["tlogs"][0]
    return found


def authority(root: Json) -> Json:
    found: Json = root["certificateAuthorities"][0]
    return found


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda root: root.update(mediaType="x"), "mediaType is another than application/vnd"),
        (lambda root: root.update(more=1), "the trusted root has an unknown field more"),
        (lambda root: root.update(tlogs={}), "tlogs is no list"),
        (lambda root: root.update(ctlogs=[]), "an authority, a log of signatures or one of"),
        (lambda root: root.update(tlogs=root["tlogs"] * 65), "tlogs holds more than 64 items"),
        (lambda root: log(root).update(hashAlgorithm="SHA3_256"), "hashAlgorithm of a log is"),
        (lambda root: log(root).update(logId={"keyId": base64_text(bytes(32))}), "logId of a log"),
        (lambda root: log(root).update(publicKey=None), "publicKey is missing or no object"),
        (lambda root: authority(root).update(certChain={}), "an authority has no certificates"),
        (lambda root: authority(root).update(validFor={}), "start is missing or no text"),
        (lambda root: authority(root).update(validFor={"start": "soon"}), "start is a time such"),
        (
            lambda root: authority(root).update(validFor={"start": "2021-13-01T00:00:00Z"}),
            "month must be in 1..12",
        ),
        (
            lambda root: authority(root)["certChain"].update(certificates=[{"rawBytes": "%"}]),
            "rawBytes is not base64",
        ),
    ],
)
def test_what_is_wrong_is_found_with_its_line(
    change: Callable[[Json], object], finding: str
) -> None:
    root = SIGSTORE.trusted_root()
    change(root)
    (found,) = machine(configured(json.dumps(root)), "m.toml")[1]
    assert str(found).startswith(f"m.toml:2: example: {finding}")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("[trusted_roots]\nexample = 1\n", "m.toml:2: example: is the text of a trusted_root.json"),
        ('[trusted_roots]\nA = ""\n', "m.toml:2: A: is no name of a trusted root"),
        (configured("{"), "m.toml:2: example: the trusted root is not JSON"),
        (configured(" " * 65537), "m.toml:2: example: is longer than 65536 bytes"),
        ("trusted_roots = 1\n", "m.toml:1: trusted_roots is a table"),
    ],
)
def test_what_is_no_root_is_found_with_its_line(text: str, finding: str) -> None:
    (found,) = machine(text, "m.toml")[1]
    assert str(found).startswith(finding)
