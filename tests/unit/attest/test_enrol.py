from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest

from ainit.attest.enrol import Enrolment, enrol
from ainit.attest.evidence import FILES, from_wire, to_wire
from ainit.attest.tpms import MalformedError
from ainit.errors import WireError

from .machine import Machine, codes
from .swtpm import Swtpm

Honest = tuple[Machine, Enrolment]


class Liar:
    """Answers with the evidence it holds and whatever it says to a challenge."""

    def __init__(self, files: object, answer: object = "") -> None:
        self.files = files
        self.answer = answer

    def call(
        self, method: str, parameters: Mapping[str, object] | None = None
    ) -> Mapping[str, object]:
        return {"files": self.files} if method.endswith(".Evidence") else {"secret": self.answer}


def test_nonce_and_secret_are_fresh_each_time(machine: Machine) -> None:
    first, second = machine.enrol(), machine.enrol()
    assert first.nonce != second.nonce
    assert first.activation.secret != second.activation.secret
    assert machine.judge(first).accepted
    assert machine.judge(second).accepted


def test_the_evidence_of_another_conversation_is_refused(machine: Machine) -> None:
    old = to_wire(machine.enrol().evidence)
    replayed = enrol(Liar(old, "00" * 32))
    assert codes(machine.judge(replayed)) == {"replayed", "unbound"}


def test_a_challenge_relayed_to_another_tpm_fails(machine: Machine) -> None:
    """The evidence claims the EK of one TPM and the AK of another."""
    with Swtpm() as other:
        theirs = Machine(other, machine.log.parent)
        honest = machine.enrol().evidence
        forged = to_wire(honest) | {
            name: to_wire(theirs.enrol().evidence)[name] for name in ("ek.pub", "ek.crt")
        }
        answer = theirs.client()

        class Relay(Liar):
            def call(
                self, method: str, parameters: Mapping[str, object] | None = None
            ) -> Mapping[str, object]:
                if method.endswith(".Activate"):
                    try:
                        return answer.call(method, parameters)
                    except Exception:  # noqa: BLE001 - a liar answers something, whatever happens
                        return {"secret": "00" * 32}
                return super().call(method, parameters)

        assert "unbound" in codes(machine.judge(enrol(Relay(forged))))


@pytest.mark.parametrize(
    "files", [None, [], {"other": ""}, {"nonce": "!"}, {"nonce": 7}, {"../nonce": ""}]
)
def test_other_answers_are_refused(files: object) -> None:
    with pytest.raises(WireError):
        enrol(Liar(files))


def test_no_keys_no_challenge() -> None:
    with pytest.raises(MalformedError):
        enrol(Liar({}))


@pytest.mark.parametrize("answer", ["not hexadecimal"])
def test_an_answer_that_is_no_answer(honest: Honest, answer: object) -> None:
    with pytest.raises(WireError):
        enrol(Liar(to_wire(honest[1].evidence), answer))


def test_an_answer_of_another_type_does_not_meet_the_challenge(honest: Honest) -> None:
    enrolment = enrol(Liar(to_wire(honest[1].evidence), 7), honest[1].nonce)
    assert codes(honest[0].judge(enrolment)) == {"unbound"}


def test_evidence_survives_the_wire(honest: Honest) -> None:
    files = to_wire(honest[1].evidence)
    assert set(files) == set(FILES.values())
    assert base64.b64decode(files["nonce"]) == honest[1].nonce
    assert from_wire(files) == honest[1].evidence
