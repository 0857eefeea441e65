"""From the command line through varlink to a software TPM and back. EMULATED: the TPM is swtpm."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket

import pytest

from ainit.attest.enrol import enrol
from ainit.attest.service import Sources, service
from ainit.child.client import Client
from ainit.cli import main
from ainit.wire import interface_text
from ainit.wire.protocol import VarlinkError
from tests.support.idl import Interface
from tests.unit.attest.machine import Machine, manifest
from tests.unit.attest.swtpm import Swtpm


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Swtpm() as tpm:
        machine = Machine(tpm, tmp_path_factory.mktemp("machine"))
        machine.boot()
        yield machine


def serve(sources: Sources, path: Path) -> str:
    """The service on a socket at ``path``, in a thread that ends with the process."""
    listener = socket(AF_UNIX, SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    threading.Thread(target=service(sources).serve, args=(listener,), daemon=True).start()
    return str(path)


@pytest.fixture(scope="module")
def control(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve(machine.sources, tmp_path_factory.mktemp("s") / "control")


@pytest.fixture
def evidence(control: str, tmp_path: Path) -> Path:
    place = tmp_path / "evidence"
    assert main(["--socket", control, "attest", "evidence", "--out", str(place)]) == 0
    return place


@pytest.fixture
def trust(machine: Machine, tmp_path: Path) -> list[str]:
    """The options that name what the verifier trusts."""
    (tmp_path / "manifest.json").write_text(json.dumps(manifest()))
    (tmp_path / "manufacturers.pem").write_bytes(machine.tpm.manufacturers)
    golden, roots = tmp_path / "manifest.json", tmp_path / "manufacturers.pem"
    return ["--golden", str(golden), "--ek-roots", str(roots)]


def test_the_interface_is_the_one_described(control: str) -> None:
    with Client(control) as client:
        reply = client.call(
            "org.varlink.service.GetInterfaceDescription", {"interface": "org.ainos.Attest"}
        )
    assert reply["description"] == interface_text("org.ainos.Attest")


def test_calls_and_replies_fit_the_interface(control: str) -> None:
    interface = Interface.named("org.ainos.Attest")
    with Client(control, timeout=60) as client:
        parameters = {"nonce": "00" * 32}
        reply = client.call("org.ainos.Attest.Evidence", parameters)
        assert interface.wrong_call("Evidence", parameters) == []
        assert interface.wrong_reply("Evidence", reply) == []


def test_one_connection_serves_evidence_and_challenge(control: str, machine: Machine) -> None:
    with Client(control, timeout=60) as client:
        assert machine.judge(enrol(client)).accepted


def test_no_tpm_arrives_as_the_named_error(tmp_path: Path) -> None:
    path = serve(Sources(device=str(tmp_path / "none")), tmp_path / "control")
    with Client(path) as client, pytest.raises(VarlinkError) as caught:
        client.call("org.ainos.Attest.Evidence", {"nonce": "00" * 32})
    assert caught.value.name == "org.ainos.Attest.NoTpm"


def test_fetched_evidence_is_accepted(
    evidence: Path, trust: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["attest", "verify", str(evidence), *trust]) == 0
    shown = capsys.readouterr().out
    assert "accepted" in shown
    assert "magika" in shown


def test_the_verdict_as_json(
    evidence: Path, trust: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["attest", "verify", str(evidence), *trust, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accepted"] is True


@pytest.mark.parametrize("name", ["quote.sig", "firmware.log", "ek.crt", "SHA256SUMS"])
def test_an_altered_file_is_refused_by_name(
    evidence: Path, trust: list[str], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data = bytearray((evidence / name).read_bytes())
    data[len(data) // 2] ^= 1
    (evidence / name).write_bytes(data)
    capsys.readouterr()
    assert main(["attest", "verify", str(evidence), *trust]) == 1
    shown = capsys.readouterr().out
    assert f"{name}: " in shown
    assert "the evidence does not hold" in shown


def test_another_nonce_is_a_replay(
    evidence: Path, trust: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["attest", "verify", str(evidence), *trust, "--nonce", "00" * 32]) == 1
    assert "replayed" in capsys.readouterr().out


def test_without_the_record_of_asking_the_key_is_not_believed(
    evidence: Path, trust: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (evidence / "credential.json").unlink()
    capsys.readouterr()
    assert main(["attest", "verify", str(evidence), *trust]) == 1
    shown = capsys.readouterr().out
    assert "not challenged" in shown
    assert "no nonce given" in shown


def test_an_altered_record_of_asking_is_named(
    evidence: Path, trust: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = evidence / "credential.json"
    path.write_text(path.read_text().replace("nonce", "nonse"))
    assert main(["attest", "verify", str(evidence), *trust]) == 1
    assert "credential.json" in capsys.readouterr().err


def test_a_machine_that_was_accepted_is_known(
    evidence: Path, trust: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*trust, "--register", str(tmp_path / "register"), "--machine", "rack-7"]
    assert main(["attest", "verify", str(evidence), *options]) == 0
    (known,) = (tmp_path / "register/machines").iterdir()
    assert known.name == "rack-7.json"
    assert main(["attest", "verify", str(evidence), *options]) == 0
    record = json.loads(known.read_text())
    known.write_text(json.dumps({**record, "ak": "00" * 34}))
    capsys.readouterr()
    assert main(["attest", "verify", str(evidence), *options]) == 1
    assert "another attestation key than before" in capsys.readouterr().out


def test_a_policy_in_place_of_one_build(evidence: Path, trust: list[str], tmp_path: Path) -> None:
    _, golden, _, roots = trust
    policy = tmp_path / "policy.toml"
    text = f'manufacturers = ["{roots}"]\n[images]\nmanifests = ["{golden}"]\n'
    policy.write_text(text)
    assert main(["attest", "verify", str(evidence), "--policy", str(policy)]) == 0
    policy.write_text(f'{text}floor = "99"\n')
    assert main(["attest", "verify", str(evidence), "--policy", str(policy)]) == 1


@pytest.mark.parametrize(
    "options", [[], ["--golden", "{file}"], ["--policy", "{file}", "--golden", "{file}"]]
)
def test_a_verdict_needs_one_policy(evidence: Path, options: list[str]) -> None:
    file = str(evidence / "nonce")
    given = [option.format(file=file) for option in options]
    assert main(["attest", "verify", str(evidence), *given]) == 2


def test_a_given_nonce_is_quoted(control: str, tmp_path: Path) -> None:
    place = tmp_path / "evidence"
    nonce = "5a" * 20
    options = ["--out", str(place), "--nonce", nonce]
    assert main(["--socket", control, "attest", "evidence", *options]) == 0
    assert (place / "nonce").read_bytes().hex() == nonce


@pytest.mark.parametrize("nonce", ["xyz", "00", "00" * 65])
def test_a_nonce_of_another_form_is_a_usage_error(tmp_path: Path, nonce: str) -> None:
    assert main(["attest", "evidence", "--out", str(tmp_path), "--nonce", nonce]) == 2


def test_unmodified_checkquote_accepts_what_was_fetched(evidence: Path) -> None:
    subprocess.run(
        [
            *("tpm2_checkquote", "-u", "ak.pem", "-m", "quote.msg", "-s", "quote.sig"),
            *("-f", "quote.pcrs", "-g", "sha256", "-q", "nonce"),
        ],
        cwd=evidence,
        capture_output=True,
        timeout=30,
        check=True,
    )


def test_the_service_starts_without_the_tpm_library() -> None:
    """Readiness must not wait for the slow import."""
    code = "import sys, ainit.attest.__main__; print('tpm2_pytss' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"
