"""``ainitctl identity``, and what ``attest submit`` tells the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ainit.wire.protocol import VarlinkError
from tests.support.keylime import authority

from .conftest import Run, Serve

STATUS = "org.ainos.Identity.Status"
VERDICT = "org.ainos.Identity.Verdict"
ANSWER: dict[str, object] = {
    "trust_domain": "rack-7",
    "life_s": 600,
    "attest_interval_s": 3600,
    "verdict_required": False,
    "authority": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "fingerprint": "ab" * 32,
    "hindrances": [],
    "agents": [
        {
            "name": "notes",
            "identity": "spiffe://rack-7/agent/notes",
            "serial": "1f",
            "until": "2026-11-30T20:00:00+00:00",
        },
        {
            "name": "speech",
            "identity": "spiffe://rack-7/agent/speech",
            "serial": None,
            "until": None,
        },
    ],
}


def test_the_authority_and_its_certificates(run: Run, serve: Serve) -> None:
    serve({STATUS: ANSWER})
    result = run("identity")
    assert (result.code, result.err) == (0, "")
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[:4] == [
        "trust domain rack-7",
        f"authority {'ab' * 32}",
        "life 600 s; attestation counts for 3600 s",
        "verdicts heeded where told",
    ]
    assert lines[-2:] == [
        "notes 2026-11-30T20:00:00+00:00 1f spiffe://rack-7/agent/notes",
        "speech - - spiffe://rack-7/agent/speech",
    ]


def test_for_scripts_and_for_who_wants_to_trust_it(run: Run, serve: Serve) -> None:
    serve({STATUS: ANSWER})
    assert json.loads(run("identity", "--json").out) == ANSWER
    assert run("identity", "--authority").out == ANSWER["authority"]


def test_what_hinders_is_a_failure(run: Run, serve: Serve) -> None:
    serve({STATUS: {**ANSWER, "hindrances": ["PCR 7", "x\x1b"]}})
    result = run("identity")
    assert (result.code, result.err) == (1, "ainitctl: nothing is issued: PCR 7; x\\x1b\n")
    assert run("identity", "--authority").code == 0


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ({"accepted": True, "findings": []}, {"accepted": True, "reason": ""}),
        (
            {"accepted": False, "findings": [{"subject": "PCR 7"}, {"subject": "PCR 4"}]},
            {"accepted": False, "reason": "PCR 7, PCR 4"},
        ),
    ],
)
def test_a_verdict_is_told_to_the_machine(
    run: Run, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    verdict: dict[str, object], told: dict[str, object],
) -> None:  # fmt: skip
    authority(tmp_path)
    server = serve({VERDICT: {}})
    monkeypatch.setattr("ainit.attest.submit.submit", lambda *_: verdict)
    result = run(*submit(tmp_path))
    assert (result.code, result.err) == (0 if verdict["accepted"] else 1, "")
    assert server.calls == [(VERDICT, told)]


def submit(place: Path) -> list[str]:
    return [
        *("attest", "submit", "--machine", "node1", "--authority", f"{place}/ca.crt"),
        *("--certificate", f"{place}/client.crt", "--key", f"{place}/client.key"),
        *("--verifier", "[::1]:9"),
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("org.ainos.Control.Unavailable", ""),
        ("org.varlink.service.InterfaceNotFound", ""),
        ("org.varlink.service.PermissionDenied", "ainitctl: the machine was not told: "),
    ],
)
def test_a_machine_that_cannot_be_told_is_judged_all_the_same(
    run: Run, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, said: str
) -> None:
    authority(tmp_path)
    serve({VERDICT: VarlinkError(error, {"interface": "i", "reason": "r"})})
    monkeypatch.setattr("ainit.attest.submit.submit", lambda *_: {"accepted": True})
    result = run(*submit(tmp_path))
    assert result.code == 0
    assert result.err.startswith(said)
    assert bool(result.err) == bool(said)
