"""Remote control with the image's own Python, OpenSSL and provider: the key of the machine's end is
in the TPM. ``ainitctl`` of this checkout meets it and steers it. EMULATED: the TPM is swtpm.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lib.host import REPOSITORY

from ainit.attest.service import Attestation
from tests.support.control import ControlServer
from tests.support.keylime import authority
from tests.support.remote import HOST, Service
from tests.unit.attest.machine import Machine, manifest
from tests.unit.attest.swtpm import Swtpm


class Operator:
    """``ainitctl`` with a folder of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def run(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ainit.cli", *arguments],
            capture_output=True,
            text=True,
            input=answer,
            timeout=120,
            check=False,
            env={"PATH": "/usr/bin", "AINITCTL_FOLDER": str(self.place / "folder")},
            cwd=REPOSITORY,
        )

    def certificate(self) -> str:
        done = self.run("remote", "key", "--name", "alice", "--json")
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["certificate"])


class Stand:
    """A machine as it was built, its remote control, and an operator who never met it."""

    def __init__(self, tree: Path, place: Path, tpm: Swtpm, stack: ExitStack) -> None:
        self.tree, self.place, self.tpm, self.stack = tree, place, tpm, stack
        self.machine = Machine(tpm, place)
        self.machine.boot()
        attestation = Attestation(self.machine.sources)
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ainos-")))
        self.control = stack.enter_context(
            ControlServer(
                short / "control",
                {
                    "org.ainos.Attest.Evidence": attestation.evidence,
                    "org.ainos.Attest.Activate": attestation.activate,
                    "org.ainos.Attest.Channel": attestation.channel,
                    "org.ainos.Control.Restart": {},
                },
            )
        )
        self.operator = Operator(place)
        self.port = self.serve("operator").port
        (place / "manifest.json").write_text(json.dumps(manifest()))
        (place / "roots.pem").write_bytes(tpm.manufacturers)

    def alice(self, role: str) -> dict[str, str]:
        """How a machine's configuration names the operator."""
        return {"name": "alice", "role": role, "certificate": self.operator.certificate()}

    def serve(self, role: str) -> Service:
        named = [self.alice(role)]
        service = Service(self.tree, self.place, self.tpm, named, self.control.path)
        self.stack.callback(service.end)
        assert service.port, "the service did not start"
        return service

    def add(
        self, *more: str, answer: str = "", port: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self.operator.run(
            *("remote", "add", "node1", f"{HOST}:{port or self.port}"),
            *("--golden", str(self.place / "manifest.json")),
            *("--ek-roots", str(self.place / "roots.pem"), *more),
            answer=answer,
        )

    @property
    def ek(self) -> str:
        with self.machine.attestation_tpm() as tpm:
            return hashlib.sha256(tpm.endorsement()[1]).hexdigest()


@pytest.fixture(scope="module")
def stand(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with ExitStack() as stack:
        tpm = stack.enter_context(Swtpm())
        yield Stand(tree, tmp_path_factory.mktemp("machine"), tpm, stack)


@pytest.fixture(autouse=True)
def never_met(stand: Stand) -> None:
    """Whatever another test left: the operator has yet to meet the machine."""
    stand.operator.run("remote", "remove", "node1")


def test_an_operator_meets_a_machine_and_steers_it(stand: Stand) -> None:
    operator = stand.operator
    done = stand.add("--ek", stand.ek.upper())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "node1 is added" in done.stdout
    assert stand.ek in operator.run("remote", "list").stdout
    done = operator.run("--host", "node1", "restart", "speech")
    assert (done.returncode, stand.control.calls[-1]) == (
        0,
        ("org.ainos.Control.Restart", {"name": "speech"}),
    )
    golden = ("--golden", str(stand.place / "manifest.json"))
    roots = ("--ek-roots", str(stand.place / "roots.pem"))
    done = operator.run("remote", "verify", "node1", *golden, *roots)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted" in done.stdout
    done = stand.add("--ek", stand.ek)
    assert done.returncode == 1
    assert "node1 is known already" in done.stderr
    done = operator.run("--host", "node1", "reexec")
    assert done.returncode == 1
    assert "another role" in done.stderr
    out = stand.place / "evidence"
    done = operator.run("--host", "node1", "attest", "evidence", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert (out / "quote.msg").exists()
    assert operator.run("remote", "remove", "node1").returncode == 0
    done = operator.run("--host", "node1", "status")
    assert done.returncode == 1
    assert "ainitctl remote add node1" in done.stderr


@pytest.fixture(scope="module")
def verifier(stand: Stand) -> Iterator[int]:
    """``ainitctl attest serve``: the port where it listens."""
    place = stand.place
    authority(place)
    command = [
        *(sys.executable, "-m", "ainit.cli", "attest", "serve", "--listen", f"{HOST}:0"),
        *("--golden", f"{place}/manifest.json", "--ek-roots", f"{place}/roots.pem"),
        *("--register", f"{place}/register", "--certificate", f"{place}/server.crt"),
        *("--key", f"{place}/server.key", "--clients", f"{place}/ca.crt"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


def test_a_verifier_judges_a_machine_over_the_network(stand: Stand, verifier: int) -> None:
    """The operator's computer carries the conversation; it needs no way from one to the other."""
    assert stand.add("--ek", stand.ek).returncode == 0
    place = stand.place
    command = [
        *("--host", "node1", "attest", "submit", "--verifier", f"{HOST}:{verifier}"),
        *("--authority", f"{place}/ca.crt", "--certificate", f"{place}/client.crt"),
        *("--key", f"{place}/client.key"),
    ]
    done = stand.operator.run(*command, "--machine", "rack-7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"rack-7: accepted by {HOST}:{verifier}" in done.stdout
    stand.operator.run("remote", "remove", "node1")
    done = stand.operator.run(*command, "--machine", "rack-7")
    assert done.returncode == 1
    assert "ainitctl remote add node1" in done.stderr


def test_without_its_name_the_operator_is_asked(stand: Stand) -> None:
    done = stand.add(answer="n\n")
    assert done.returncode == 130
    assert stand.ek in done.stdout
    assert stand.operator.run("remote", "list", "--json").stdout == '{\n  "machines": []\n}\n'
    assert stand.add(answer="y\n").returncode == 0
    stand.operator.run("remote", "remove", "node1")


def test_another_tpm_is_refused(stand: Stand) -> None:
    done = stand.add("--ek", "00" * 32)
    assert done.returncode == 1
    assert "has another TPM" in done.stderr


def test_a_machine_that_is_not_accepted_is_not_added(stand: Stand) -> None:
    record = manifest()
    pcrs = record["pcrs"]
    assert isinstance(pcrs, dict)
    pcrs["11"] = "00" * 32
    (stand.place / "other.json").write_text(json.dumps(record))
    done = stand.operator.run(
        *("remote", "add", "node1", f"{HOST}:{stand.port}"),
        *("--golden", str(stand.place / "other.json")),
        *("--ek-roots", str(stand.place / "roots.pem"), "--ek", stand.ek),
    )
    assert done.returncode == 1
    assert "PCR 11" in done.stdout
    assert "[]" in stand.operator.run("remote", "list", "--json").stdout


def test_somebody_between_is_found_out(stand: Stand, tmp_path: Path) -> None:
    """He has a machine of the same kind, so that a genuine TPM holds the key of his channel; calls
    go to the machine that the operator means, by an operator's certificate that he got hold of.
    """
    with Swtpm() as tpm:
        between = Service(stand.tree, tmp_path, tpm, [stand.alice("admin")], stand.control.path)
        try:
            done = stand.add("--ek", stand.ek, port=between.port)
        finally:
            between.end()
    assert done.returncode == 1
    assert "is not who attests there" in done.stderr
    assert "somebody stands between" in done.stderr


def test_a_machine_that_is_known_cannot_be_replaced(stand: Stand, tmp_path: Path) -> None:
    assert stand.add("--ek", stand.ek).returncode == 0
    path = stand.place / "folder/hosts/node1.json"
    record = json.loads(path.read_text())
    with Swtpm() as tpm:
        other = Service(stand.tree, tmp_path, tpm, [stand.alice("admin")], stand.control.path)
        try:
            path.write_text(json.dumps(record | {"port": other.port}))
            done = stand.operator.run("--host", "node1", "restart", "speech")
        finally:
            other.end()
    assert done.returncode == 3
    assert "another machine answers there" in done.stderr
    stand.operator.run("remote", "remove", "node1")


def test_many_operators_at_once(stand: Stand) -> None:
    """The provider for TPMs is used by many threads."""
    assert stand.add("--ek", stand.ek).returncode == 0
    from ainit.remote.operator import Folder

    connect = Folder(str(stand.place / "folder")).connect("node1")
    faults: list[object] = []

    def knock() -> None:
        try:
            for _ in range(4):
                with connect(60.0) as channel:
                    channel.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
                    answer = channel.recv(1)
                if answer != b"{":
                    faults.append(answer)
        except OSError as error:
            faults.append(error)

    threads = [threading.Thread(target=knock) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    stand.operator.run("remote", "remove", "node1")


def test_a_port_where_nobody_answers(stand: Stand) -> None:
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    done = stand.add(port=port)
    assert done.returncode == 3
    assert "refused" in done.stderr
