"""Whose certificate that is."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

from ainit.remote.operators import Operators

from .certificates import operator


def der(pem: str) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.strip())


def test_each_is_known_by_his_certificate(tmp_path: Path) -> None:
    _, alice = operator(tmp_path, "alice", "admin")
    _, bob = operator(tmp_path, "bob", "viewer")
    _, stranger = operator(tmp_path, "stranger", "admin")
    known = Operators.of([alice, bob])
    assert known.faults == ()
    assert known.who(der(alice.certificate)) == alice
    assert known.who(der(bob.certificate)) == bob
    assert known.who(der(stranger.certificate)) is None
    assert known.who(None) is None
    assert known.trusted.count("BEGIN CERTIFICATE") == 2


def test_a_certificate_that_is_none_leaves_the_others(tmp_path: Path) -> None:
    _, alice = operator(tmp_path, "alice", "admin")
    spoilt = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    known = Operators.of([replace(alice, name="eve", certificate=spoilt), alice])
    assert known.who(der(alice.certificate)) == alice
    [fault] = known.faults
    assert fault.startswith("the certificate of eve is none: ")
    assert Operators.of([replace(alice, certificate="not base64!")]).trusted == ""


def test_of_two_with_one_certificate_neither_is_believed(tmp_path: Path) -> None:
    _, alice = operator(tmp_path, "alice", "admin")
    _, bob = operator(tmp_path, "bob", "viewer")
    twin = replace(alice, name="twin", role="viewer")
    known = Operators.of([alice, bob, twin])
    assert known.who(der(alice.certificate)) is None
    assert known.who(der(bob.certificate)) == bob
    assert known.faults == ("twin and alice have one certificate: neither may call",)
    assert known.trusted.count("BEGIN CERTIFICATE") == 1
