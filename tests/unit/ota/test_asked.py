"""What other services are asked, and what is made of their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ainit import constants
from ainit.child.client import VarlinkError
from ainit.errors import RefusedError, UnavailableError
from ainit.ota import asked
from ainit.policy.update import REQUIRED

Message = dict[str, object]


class Control:
    """The control socket; an answer may be an error."""

    def __init__(self, answers: Mapping[str, Message | Exception]) -> None:
        self.answers = answers
        self.calls: list[tuple[str, Mapping[str, object]]] = []

    def __call__(self, method: str, parameters: Mapping[str, object], seconds: float) -> Message:
        self.calls.append((method, parameters))
        answer = self.answers[method.removeprefix("org.ainos.")]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "SEAL", str(tmp_path / "seal.json"))
    monkeypatch.setattr(constants, "VERDICT", str(tmp_path / "verdict.json"))
    return tmp_path


def status(tpm: str = "present") -> Message:
    return {"machine": {"tpm": tpm, "health": "healthy"}, "units": []}


def test_a_service_that_is_down_is_an_answer() -> None:
    down = VarlinkError("org.ainos.Control.Unavailable", {"reason": "gpu is failed"})
    control = Control(
        {
            "Control.Status": status(),
            "Gpu.Health": down,
            "Network.Status": UnavailableError("gone"),
            "Attest.Evidence": VarlinkError("org.ainos.Attest.NoTpm"),
        }
    )
    found = asked.answers(REQUIRED, evidence=True, ask=control)
    assert (found.gpus, found.network) == ("gpu is failed", "gone")
    assert found.evidence == "org.ainos.Attest.NoTpm()"


def test_without_pid_1_there_is_no_answer() -> None:
    control = Control({"Control.Status": UnavailableError("nobody")})
    with pytest.raises(UnavailableError):
        asked.answers((), evidence=False, ask=control)


def test_evidence_has_a_fresh_nonce_and_needs_a_tpm() -> None:
    control = Control({"Control.Status": status(), "Attest.Evidence": {"files": {"a": "b"}}})
    for _ in range(2):
        assert asked.answers((), evidence=True, ask=control).evidence == ""
    nonces = {str(what["nonce"]) for method, what in control.calls if "Evidence" in method}
    assert [len(nonce) for nonce in nonces] == [32, 32]
    without = Control({"Control.Status": status("there is no TPM")})
    assert asked.answers((), evidence=True, ask=without).evidence == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ""),
        ('{"accepted": true, "reason": ""}', ""),
        ('{"accepted": false, "reason": "PCR 11"}', "PCR 11"),
        ('{"accepted": false, "reason": ""}', "no reason was given"),
    ],
)
def test_verdicts(place: Path, text: str | None, expected: str) -> None:
    if text is not None:
        (place / "verdict.json").write_text(text)
    control = Control({"Control.Status": status()})
    verdict = asked.answers(["attestation"], evidence=False, ask=control).verdict
    assert verdict == expected


def test_a_state_that_is_not_sealed_is_opened_by_all() -> None:
    assert asked.seal_refusal(b"whatever", Control({})) == ""
    assert asked.raise_seal() == ""


def test_what_the_seal_service_says(place: Path) -> None:
    (place / "seal.json").write_text("{}")
    control = Control({"Seal.Predict": {"opens": False, "findings": ["a", "b"]}})
    assert asked.seal_refusal(b'{"generation": 1}', control) == "a; b"
    assert control.calls == [("org.ainos.Seal.Predict", {"approval": {"generation": 1}})]
    opens = Control({"Seal.Predict": {"opens": True, "findings": []}})
    assert asked.seal_refusal(b"{}", opens) == ""
    assert asked.seal_refusal(b"", opens) == "it has no approval"
    with pytest.raises(RefusedError, match="the approval of the release"):
        asked.seal_refusal(b"{", opens)
    silent = Control({"Seal.Predict": UnavailableError("no answer")})
    with pytest.raises(UnavailableError):
        asked.seal_refusal(b"{}", silent)


def test_crashes_since_then() -> None:
    crash = {"kind": "panic", "cause": "no root", "time": 100.0}
    listed = [
        crash,
        {**crash, "time": 5.0},
        {**crash, "kind": "quarantine"},
        {**crash, "kind": "unclean", "cause": "ended"},
    ]
    control = Control({"Crash.List": {"crashes": listed}})
    assert asked.crashes(50.0, control) == ["panic: no root", "unclean: ended"]
    assert asked.crashes(0.0, Control({"Crash.List": UnavailableError("gone")})) == []


def test_a_clock_that_nobody_compared_dates_nothing() -> None:
    def found(clock: Message) -> bool:
        return asked.is_dated(Control({"Network.Status": {"clock": clock}}))

    assert found({"synchronised": True})
    assert not found({"synchronised": False})
    assert not asked.is_dated(Control({"Network.Status": UnavailableError("gone")}))


def test_what_is_ordered() -> None:
    control = Control({"Network.SetForward": {"set": True}, "Control.Reboot": {}})
    asked.set_clock(5.0, control)
    asked.reboot(control)
    assert json.dumps(control.calls) == json.dumps(
        [["org.ainos.Network.SetForward", {"time": 5.0}], ["org.ainos.Control.Reboot", {}]]
    )
