"""What a verifier remembers: a nonce is good once and for a while, a machine keeps its keys."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ainit.attest import register as module
from ainit.attest.enrol import Enrolment
from ainit.attest.register import LIFETIME, Register
from ainit.errors import ConfigError

from .machine import Machine

NOW = datetime.datetime(2027, 1, 1, 12, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return Register(str(tmp_path / "register"))


def again(register: Register) -> Register:
    """The verifier is started anew."""
    return Register(register._directory)


def test_a_nonce_is_good_once(register: Register) -> None:
    nonce = register.issue(NOW)
    assert len(nonce) == 32
    assert again(register).redeem(nonce, NOW + SECOND) == ""
    assert "was used before" in again(register).redeem(nonce, NOW + SECOND)


def test_a_nonce_that_nobody_gave_out(register: Register) -> None:
    assert "never given out" in register.redeem(bytes(32), NOW)


def test_a_nonce_expires(register: Register) -> None:
    early, late = register.issue(NOW), register.issue(NOW)
    assert register.redeem(early, NOW + LIFETIME) == ""
    assert "was good until 2027-01-01T12:05" in register.redeem(late, NOW + LIFETIME + SECOND)
    assert "never given out" in register.redeem(late, NOW)  # it is used up all the same


def test_nonces_do_not_pile_up(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OUTSTANDING", 3)
    for _ in range(3):
        register.issue(NOW)
    with pytest.raises(BlockingIOError):
        register.issue(NOW)
    register.issue(NOW + LIFETIME + SECOND)


def test_of_many_who_redeem_a_nonce_at_once_one_succeeds(register: Register) -> None:
    nonce = register.issue(NOW)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: register.redeem(nonce, NOW), range(8)))
    assert answers.count("") == 1


def test_a_machine_is_known_after_it_was_accepted(
    register: Register, honest: tuple[Machine, Enrolment]
) -> None:
    machine, answer = honest
    verdict = machine.judge(answer)
    assert register.known("rack-7") is None
    assert register.objections("rack-7", verdict) == []
    register.accept("rack-7", verdict, answer.evidence.quote_msg, NOW)
    known = again(register).known("rack-7")
    assert known is not None
    assert bytes.fromhex(known.quote) == answer.evidence.quote_msg
    assert (known.version, known.at) == ("0.1", "2027-01-01T12:00:00+00:00")
    assert register.objections("rack-7", verdict) == []
    assert register.names() == ["rack-7"]


@pytest.mark.parametrize(("field", "word"), [("ak", "attestation"), ("ek_fingerprint", "endorse")])
def test_another_tpm_under_its_name(
    register: Register, honest: tuple[Machine, Enrolment], field: str, word: str
) -> None:
    machine, answer = honest
    verdict = machine.judge(answer)
    register.accept("rack-7", verdict, answer.evidence.quote_msg, NOW)
    other = replace(verdict, facts=replace(verdict.facts, **{field: "00"}))  # type: ignore[arg-type]
    (objection,) = register.objections("rack-7", other)
    assert word in objection.message
    assert not other.with_findings([objection]).accepted
    assert not other.with_findings([objection]).genuine
    register.forget("rack-7")
    assert register.objections("rack-7", other) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "x" * 64])
def test_a_name_is_no_path(register: Register, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a machine"):
        register.known(name)


@pytest.mark.parametrize("text", ["junk", "[]"])
def test_a_file_of_somebody_else_is_refused(register: Register, text: str) -> None:
    path = Path(register._directory, "machines/rack-7.json")
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"rack-7\.json:1: not what the verifier wrote"):
        register.known("rack-7")
