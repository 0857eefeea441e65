"""Agents' certificates: issued by a TPM's key, used in a handshake, not renewed when the TPM has
seen something else than the logs say. EMULATED: the TPMs are swtpm.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ainit.attest import channel
from ainit.attest.service import Attestation
from ainit.child import tls
from ainit.child.server import VarlinkError
from ainit.errors import RefusedError
from ainit.identity.authority import Authority
from ainit.identity.service import INTERFACE, Identity, Place
from ainit.policy import phases
from ainit.policy.identity import Settings
from tests.support.idl import Interface
from tests.support.keylime import authority
from tests.support.service import Service
from tests.unit.attest.machine import Machine, boot_set, write_log
from tests.unit.attest.swtpm import Swtpm

LIFE, INTERVAL = 600, 3600
SETTINGS = Settings("rack-7", LIFE, INTERVAL, False, {"notes": 61184, "speech": 61185})
NONCE = bytes(range(32))


class Clock:
    """The wall and a clock that does not jump, both moved by hand."""

    def __init__(self) -> None:
        self.wall = datetime.datetime.now(datetime.UTC)
        self.steady = 1000.0

    def move(self, seconds: float) -> None:
        self.wall += datetime.timedelta(seconds=seconds)
        self.steady += seconds


class Stand:
    """A machine that booted as it logs, and the service on it."""

    def __init__(self, tpm: Swtpm, folder: Path) -> None:
        self.machine = Machine(tpm, folder)
        self.machine.boot()
        self.clock = Clock()
        self.place = Place(
            self.machine.sources,
            self.machine.sources.authority,
            str(folder / "certificates"),
            str(folder / "verdict.json"),
            lambda: self.clock.wall,
            lambda: self.clock.steady,
            lambda seconds: None,
        )
        self.folder = folder / "certificates"

    def service(self, settings: Settings = SETTINGS) -> Identity:
        return Identity(settings, self.place)

    def file(self, agent: str, name: str = "agent.pem") -> Path:
        return self.folder / agent / name

    def certificate(self, agent: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.file(agent).read_bytes())


@pytest.fixture(scope="module")
def tpm() -> Iterator[Swtpm]:
    with Swtpm() as made:
        yield made


@pytest.fixture
def stand(tpm: Swtpm, tmp_path: Path) -> Stand:
    return Stand(tpm, tmp_path)


def status(service: Identity) -> dict[str, object]:
    """What is answered, which must be as the interface declares."""
    answer = service.status({})
    assert Interface.named(INTERFACE).wrong_reply("Status", answer) == []
    return answer


def test_a_certificate_says_who_an_agent_is(stand: Stand) -> None:
    service = stand.service()
    service.tick()
    certificate = stand.certificate("speech")
    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier("spiffe://rack-7/agent/speech")]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert certificate.not_valid_after_utc - stand.clock.wall <= datetime.timedelta(seconds=LIFE)
    answer = status(service)
    issuer = x509.load_pem_x509_certificate(stand.file("speech", "ca.pem").read_bytes())
    assert answer["hindrances"] == []
    assert (
        answer["fingerprint"]
        == hashlib.sha256(ssl.PEM_cert_to_DER_cert(str(answer["authority"]).strip())).hexdigest()
    )
    certificate.verify_directly_issued_by(issuer)


def test_openssl_verifies_it(stand: Stand) -> None:
    stand.service().tick()
    for purpose in ("sslclient", "sslserver"):
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile",
             str(stand.file("notes", "ca.pem")), str(stand.file("notes"))],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_only_its_agent_may_read_it(stand: Stand) -> None:
    stand.service().tick()
    for agent, user in SETTINGS.agents.items():
        found = os.stat(stand.folder / agent)
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, user, 0o750)
        for name in ("agent.pem", "ca.pem"):
            found = os.stat(stand.file(agent, name))
            assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, user, 0o440)
        assert sorted(os.listdir(stand.folder / agent)) == ["agent.pem", "ca.pem"]


def meet(server: Path, client: Path, trusts: Path) -> str:
    """Have one agent call the other over TLS; whom the server sees, and the client, or an error."""
    ours, theirs = socket.socketpair()
    seen: list[str] = []

    def answer() -> None:
        context = tls.server(str(server), str(server), trusts.read_text())
        try:
            with context.wrap_socket(theirs, server_side=True) as channel:
                seen.append(tls.spiffe_id(channel))
                channel.sendall(b"ok")
        except (ssl.SSLError, RefusedError, OSError) as error:
            seen.append(str(error))
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        context = tls.client(str(client), str(client), trusts.read_text(), by_name=False)
        with context.wrap_socket(ours) as channel:
            seen_by_client = tls.spiffe_id(channel)
            channel.recv(2)
    except (ssl.SSLError, RefusedError, OSError) as error:
        seen_by_client = str(error)
    finally:
        thread.join(60)
    return f"{seen[0]} {seen_by_client}"


def test_two_agents_know_each_other(stand: Stand) -> None:
    stand.service().tick()
    found = meet(stand.file("speech"), stand.file("notes"), stand.file("speech", "ca.pem"))
    assert found == "spiffe://rack-7/agent/notes spiffe://rack-7/agent/speech"


def test_one_that_has_expired_is_refused(stand: Stand) -> None:
    stand.service().tick()
    trusts = stand.file("speech", "ca.pem")
    stand.clock.move(-2 * LIFE)
    expired = replace(stand.place, directory=str(stand.folder) + ".old")
    Identity(SETTINGS, expired).tick()
    old = Path(expired.directory, "notes/agent.pem")
    assert "certificate has expired" in meet(stand.file("speech"), old, trusts)
    assert "certificate has expired" in meet(old, stand.file("speech"), trusts)


def test_one_of_another_machine_is_refused(stand: Stand, tmp_path: Path) -> None:
    stand.service().tick()
    with Swtpm() as other:
        (tmp_path / "other").mkdir()
        foreign = Stand(other, tmp_path / "other")
        foreign.service().tick()
    found = meet(stand.file("speech"), foreign.file("notes"), stand.file("speech", "ca.pem"))
    assert "certificate verify failed" in found


def test_one_of_another_trust_domain_is_refused(stand: Stand, tmp_path: Path) -> None:
    """Though the authority's own key signed it."""
    stand.service().tick()
    with stand.machine.attestation_tpm() as tpm:
        own = Authority.of(stand.place.authority, tpm, "rack-7")
        strayed = replace(own, trust_domain="rack-8")
        issued = strayed.issue(tpm, "notes", stand.clock.wall, LIFE)
    (tmp_path / "strayed.pem").write_bytes(issued.pem)
    found = meet(stand.file("speech"), tmp_path / "strayed.pem", stand.file("speech", "ca.pem"))
    assert "permitted subtree violation" in found


def test_who_shows_no_spiffe_id_is_refused(tmp_path: Path) -> None:
    authority(tmp_path)
    for name in ("server", "client"):
        both = (tmp_path / f"{name}.key").read_text() + (tmp_path / f"{name}.crt").read_text()
        (tmp_path / f"{name}.pem").write_text(both)
    found = meet(tmp_path / "server.pem", tmp_path / "client.pem", tmp_path / "ca.crt")
    assert found.startswith("its certificate has no SPIFFE ID")


def test_it_is_renewed_at_half_of_its_life(stand: Stand) -> None:
    service = stand.service()
    service.tick()
    first = stand.file("notes").read_bytes()
    ca = stand.file("notes", "ca.pem").read_bytes()
    stand.clock.move(LIFE / 2 - 2)
    service.tick()
    assert stand.file("notes").read_bytes() == first
    stand.clock.move(2)
    service.tick()
    assert stand.file("notes").read_bytes() != first
    assert stand.file("notes", "ca.pem").read_bytes() == ca
    stand.clock.move(-LIFE)  # the machine has asked what time it is
    second = stand.file("notes").read_bytes()
    service.tick()
    assert stand.file("notes").read_bytes() != second


@pytest.mark.parametrize("pcr", [4, 7, 12, 13, 14, 15])
def test_a_pcr_that_somebody_extended_stops_renewal(
    stand: Stand, capfd: pytest.CaptureFixture[str], pcr: int
) -> None:
    service = stand.service()
    service.tick()
    first = stand.file("notes").read_bytes()
    digest = hashlib.sha256(b"behind our back").hexdigest()
    stand.machine.tpm.tool("tpm2_pcrextend", f"{pcr}:sha256={digest}")
    stand.clock.move(LIFE / 2)
    service.tick()
    found = status(service)["hindrances"]
    assert isinstance(found, list)
    assert [f"does not lead to PCR {pcr}" in each for each in found] == [True]
    assert stand.file("notes").read_bytes() == first
    assert f"nothing is issued: {found[0]}" in capfd.readouterr().out
    stand.clock.move(LIFE / 2)
    service.tick()
    assert not stand.file("notes").exists()
    assert stand.file("notes", "ca.pem").exists()
    assert "the certificate of notes has run out" in capfd.readouterr().out


def test_what_is_measured_meanwhile_hinders_nothing(stand: Stand) -> None:
    """PID 1 extends a PCR, and writes its record a moment later."""
    service = stand.service()
    service.tick()
    first = stand.file("notes").read_bytes()
    event = phases.measured("model", "late", "sha256:" + "9" * 64)
    log = stand.machine.log.read_bytes()
    stand.machine.tpm.tpm().extend(event.pcr, event.digest)
    events = [phases.booted(*stand.machine.tpm.tpm().counters()), *boot_set(), event]
    whole = write_log(events)
    assert whole.startswith(log)

    def moment(seconds: float) -> None:
        stand.machine.log.write_bytes(whole)

    late = replace(stand.place, sleep=moment)
    service = Identity(SETTINGS, late)
    stand.clock.move(LIFE / 2)
    service.tick()
    assert status(service)["hindrances"] == []
    assert stand.file("notes").read_bytes() != first


def test_a_refusal_by_a_verifier_stops_renewal(stand: Stand) -> None:
    service = stand.service()
    service.tick()
    first = stand.file("notes").read_bytes()
    service.verdict({"accepted": False, "reason": "PCR 7"})
    assert status(service)["hindrances"] == ["a verifier refused this machine: PCR 7"]
    service = stand.service()  # which does not forget it when it is started anew
    assert status(service)["hindrances"] == ["a verifier refused this machine: PCR 7"]
    stand.clock.move(LIFE / 2)
    service.tick()
    assert stand.file("notes").read_bytes() == first
    service.verdict({"accepted": True, "reason": ""})
    service.tick()
    assert stand.file("notes").read_bytes() != first
    stand.clock.move(INTERVAL)
    service.tick()
    assert status(service)["hindrances"] == [
        "no verifier has accepted this machine in the last 3600 s"
    ]
    assert not stand.file("notes").exists()


@pytest.mark.parametrize("content", [b"{", b"7", b"{}", b'{"accepted": true}'])
def test_a_verdict_that_cannot_be_read_is_a_refusal(stand: Stand, content: bytes) -> None:
    Path(stand.place.verdict).write_bytes(content)
    service = stand.service()
    service.tick()
    assert "verdict.json cannot be read" in str(status(service)["hindrances"])
    assert not stand.file("notes").exists()


@pytest.mark.parametrize("parameters", [{}, {"accepted": "yes"}, {"accepted": True, "reason": 7}])
def test_what_is_no_verdict(stand: Stand, parameters: dict[str, object]) -> None:
    with pytest.raises(VarlinkError, match="InvalidParameter"):
        stand.service().verdict(parameters)


def test_where_a_verdict_is_required_there_is_nothing_before_it(stand: Stand) -> None:
    service = stand.service(replace(SETTINGS, verdict_required=True))
    service.tick()
    assert not stand.file("notes").exists()
    service.verdict({"accepted": True})
    service.tick()
    assert stand.file("notes").exists()


def test_a_service_that_starts_over_goes_on(stand: Stand) -> None:
    stand.service().tick()
    first = stand.file("notes").read_bytes()
    (stand.folder / "gone").mkdir()
    again = stand.service()
    again.tick()
    assert stand.file("notes").read_bytes() == first
    assert not (stand.folder / "gone").exists()
    renamed = stand.service(replace(SETTINGS, trust_domain="rack-8"))
    renamed.tick()
    names = stand.certificate("notes").extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert list(names.value) == [x509.UniformResourceIdentifier("spiffe://rack-8/agent/notes")]


def test_a_machine_whose_tpm_is_gone_issues_nothing(stand: Stand) -> None:
    service = stand.service()
    stand.machine.tpm.power_off()
    try:
        service.tick()
        assert "no TPM" in str(status(service)["hindrances"])
        assert not stand.file("notes").exists()
    finally:
        stand.machine.tpm.power_on()


def test_the_attestation_vouches_for_the_authority(stand: Stand) -> None:
    with pytest.raises(VarlinkError, match="there is no key of a TPM"):
        Attestation(stand.machine.sources).authority({"nonce": NONCE.hex()})
    stand.service().tick()
    answer = channel.ask(stand.machine.client(), NONCE, channel.AUTHORITY)
    pem = stand.file("notes", "ca.pem").read_text()
    with stand.machine.attestation_tpm() as tpm:
        ak = tpm.attestation_key()
    assert channel.problems(answer, NONCE, ak, ssl.PEM_cert_to_DER_cert(pem.strip())) == []
    leaf = stand.certificate("notes").public_bytes(Encoding.DER)
    assert channel.problems(answer, NONCE, ak, leaf) != []


def test_as_a_service_without_a_tpm_it_says_so(tmp_path: Path) -> None:
    settings = {
        "trust_domain": "rack-7",
        "life_s": LIFE,
        "attest_interval_s": INTERVAL,
        "verdict_required": False,
        "agents": {"notes": 61184},
    }
    moved = "from ainit import constants\n" + "".join(
        f"constants.{name} = {str(tmp_path / name)!r}\n"
        for name in ("AUTHORITY", "IDENTITIES", "VERDICT", "TPM_DEVICE", "MEASUREMENTS")
    )
    environment = {"AINOS_SETTINGS": json.dumps(settings), "TSS2_LOG": "all+none"}
    with Service("ainit.identity", tmp_path, environment=environment, before=moved) as service:
        answer = service.call(f"{INTERFACE}.Status")
        assert answer["agents"] == [
            {
                "name": "notes",
                "identity": "spiffe://rack-7/agent/notes",
                "serial": None,
                "until": None,
            }
        ]
        assert "no TPM at device:" in str(answer["hindrances"])
        assert service.call(f"{INTERFACE}.Verdict", accepted=False, reason="PCR 7") == {}
        answer = service.call(f"{INTERFACE}.Status")
        assert "a verifier refused this machine: PCR 7" in str(answer["hindrances"])
