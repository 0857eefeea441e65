"""``ainitctl attest serve`` and ``submit``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ainit.attest.submit import Https
from ainit.child import tls
from ainit.errors import RefusedError
from tests.support.keylime import HOST, authority
from tests.unit.attest.machine import manifest

from .conftest import Run, Serve

FINDING = {"scope": "machine", "code": "pcr", "subject": "PCR 7", "message": "dif\x1bfers"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    authority(tmp_path)
    return tmp_path


def arguments(place: Path) -> list[str]:
    return [
        *("attest", "submit", "--machine", "node1", "--authority", f"{place}/ca.crt"),
        *("--certificate", f"{place}/client.crt", "--key", f"{place}/client.key"),
    ]


@pytest.mark.parametrize(
    ("verdict", "code", "said"),
    [
        ({"accepted": True, "findings": []}, 0, "node1: accepted by [::1]:9"),
        ({"accepted": False, "findings": [FINDING]}, 1, "machine  PCR 7: dif\\x1bfers  [pcr]\n"),
        ({"accepted": "yes"}, 1, "node1: refused by"),
    ],
)
def test_a_verdict_is_shown_and_decides_the_exit_code(
    run: Run, serve: Serve, place: Path, monkeypatch: pytest.MonkeyPatch,
    verdict: dict[str, object], code: int, said: str,
) -> None:  # fmt: skip
    serve({})
    monkeypatch.setattr("ainit.attest.submit.submit", lambda *_: verdict)
    result = run(*arguments(place), "--verifier", "[::1]:9")
    assert result.code == code
    assert said in result.out


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("node", "node", 8443),
        ("node:1", "node", 1),
        ("[::1]", "::1", 8443),
        ("[::1]:2", "::1", 2),
    ],
)
def test_addresses(
    run: Run, serve: Serve, place: Path, monkeypatch: pytest.MonkeyPatch,
    address: str, host: str, port: int,
) -> None:  # fmt: skip
    seen: list[tuple[object, ...]] = []

    class Spy:
        def __init__(self, *given: object) -> None:
            seen.append(given[:2])

        def post(self, path: str, record: Mapping[str, object]) -> Mapping[str, object]:
            raise RefusedError("no")

    serve({})
    monkeypatch.setattr("ainit.attest.submit.Https", Spy)
    assert run(*arguments(place), "--verifier", address).code == 1
    assert seen == [(host, port)]


@pytest.mark.parametrize("address", ["node:x", "node:70000", ":", ""])
def test_what_is_no_address(run: Run, place: Path, address: str) -> None:
    result = run(*arguments(place), "--verifier", address)
    assert (result.code, "HOST:PORT" in result.err) == (2, True)


def test_a_verifier_serves_until_it_is_ended(place: Path) -> None:
    (place / "manifest.json").write_text(json.dumps(manifest()))
    command = [
        *(sys.executable, "-m", "ainit.cli", "attest", "serve", "--listen", f"{HOST}:0"),
        *("--golden", f"{place}/manifest.json", "--ek-roots", f"{place}/ca.crt"),
        *("--register", f"{place}/register", "--certificate", f"{place}/server.crt"),
        *("--key", f"{place}/server.key", "--clients", f"{place}/ca.crt"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = int(line.rpartition(":")[2])
            trusted = tls.authorities(f"{place}/ca.crt")
            ours = tls.client(f"{place}/client.crt", f"{place}/client.key", trusted)
            answer = Https(HOST, port, ours).post("/v1/nonce", {})
            assert len(bytes.fromhex(str(answer["nonce"]))) == 32
            process.terminate()
            assert process.wait(60) == -signal.SIGTERM
        finally:
            process.kill()


def test_a_mistake_in_what_is_accepted_is_said_before_anything_is_served(
    run: Run, place: Path
) -> None:
    (place / "policy.toml").write_text("images = 3\n")
    result = run(
        *("attest", "serve", "--policy", f"{place}/policy.toml", "--register", f"{place}/r"),
        *("--certificate", f"{place}/server.crt", "--key", f"{place}/server.key"),
        *("--clients", f"{place}/ca.crt"),
    )
    assert result.code != 0
    assert "policy.toml" in result.err
    assert not (place / "r").exists()
