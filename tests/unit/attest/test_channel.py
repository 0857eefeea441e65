"""Whose end of a TLS channel that is. EMULATED: the TPMs are swtpm.

Each forger does everything right but the one thing that the finding names.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ainit.attest import channel, tss2
from ainit.attest.channel import Answer
from ainit.attest.quote import AttestationTpm
from ainit.attest.service import Attestation
from ainit.attest.templates import channel_template
from ainit.attest.tpms import MalformedError, parse_public
from ainit.child.server import VarlinkError
from ainit.errors import WireError
from ainit.remote.identity import identity

from .machine import Direct, Machine
from .swtpm import Swtpm

NONCE = bytes(range(32))


@dataclass(frozen=True)
class Side:
    """A machine that has a key of its own for its channel."""

    ak: bytes
    certificate: bytes
    answer: Answer
    machine: Machine

    def problems(self, **changed: object) -> list[str]:
        given = {
            "answer": self.answer,
            "nonce": NONCE,
            "ak_pub": self.ak,
            "certificate": self.certificate,
        }
        return channel.problems(**(given | changed))  # type: ignore[arg-type]


def side(tpm: Swtpm, place: Path) -> Side:
    machine = Machine(tpm, place)
    with machine.attestation_tpm() as used:
        pem = identity(machine.sources.channel, used)
        ak = used.attestation_key()
    answer = channel.ask(machine.client(), NONCE)
    return Side(ak, ssl.PEM_cert_to_DER_cert(pem.strip()), answer, machine)


@pytest.fixture(scope="module")
def honest(tpm: Swtpm, tmp_path_factory: pytest.TempPathFactory) -> Side:
    tpm.power_off()
    tpm.power_on()
    return side(tpm, tmp_path_factory.mktemp("channel"))


@pytest.fixture(scope="module")
def forger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Another machine, with a genuine TPM of its own."""
    with Swtpm() as tpm:
        yield side(tpm, tmp_path_factory.mktemp("forger"))


def test_the_machine_is_who_it_is(honest: Side) -> None:
    assert honest.problems() == []


def test_somebody_between_shows_a_key_of_his_own(honest: Side, forger: Side) -> None:
    [problem] = honest.problems(certificate=forger.certificate)
    assert "somebody stands between" in problem


def test_somebody_between_lets_his_own_tpm_answer(honest: Side, forger: Side) -> None:
    found = honest.problems(answer=forger.answer, certificate=forger.certificate)
    assert found == ["the attestation key did not sign what is said about the channel's key"]


def test_the_name_of_another_key(honest: Side, forger: Side) -> None:
    answer = replace(honest.answer, public=forger.answer.public)
    found = honest.problems(answer=answer, certificate=forger.certificate)
    assert found == ["the attestation key vouches for another key than the channel's"]


def test_an_answer_of_another_conversation(honest: Side) -> None:
    [problem] = honest.problems(nonce=bytes(32))
    assert "not about this conversation" in problem


def test_a_key_that_was_made_outside_the_tpm(honest: Side) -> None:
    """The TPM certifies what is loaded, an imported key, too: its attributes tell."""
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    area = bytearray(channel_template(x, y))
    attributes = int.from_bytes(area[6:10], "big") & ~(1 << 1 | 1 << 4 | 1 << 5)
    area[6:10] = attributes.to_bytes(4, "big")
    assert parse_public(bytes(area)).point == (x, y)
    found = honest.problems(answer=replace(honest.answer, public=bytes(area)))
    assert "the channel's key may be used outside the TPM" in found


@pytest.mark.parametrize("field", ["public", "message", "signature"])
def test_what_is_malformed_is_refused(honest: Side, field: str) -> None:
    good = getattr(honest.answer, field)
    for data in (b"", good[:-1], good + b"\0", bytes(len(good))):
        assert len(honest.problems(answer=replace(honest.answer, **{field: data}))) >= 1


def test_a_quote_is_no_certification(honest: Side) -> None:
    with honest.machine.attestation_tpm() as tpm:
        message, signature = tpm.quote(NONCE, ())
    answer = replace(honest.answer, message=message, signature=signature)
    [problem] = honest.problems(answer=answer)
    assert "type is 0x8018" in problem


def test_a_certificate_that_is_none(honest: Side) -> None:
    [problem] = honest.problems(certificate=b"nothing")
    assert "the certificate" in problem


def test_the_service_wants_a_nonce_and_a_key(honest: Side, tmp_path: Path) -> None:
    with pytest.raises(VarlinkError, match="nonce"):
        honest.machine.client().call(channel.METHOD, {"nonce": "00"})
    bare = replace(honest.machine.sources, channel=str(tmp_path / "none"))
    with pytest.raises(VarlinkError, match="there is no key of a TPM"):
        Direct(Attestation(bare)).call(channel.METHOD, {"nonce": NONCE.hex()})


def test_an_answer_that_lacks_something() -> None:
    class Other:
        def call(self, method: str, parameters: object = None) -> dict[str, object]:
            return {"public": "00", "message": "0g", "signature": ""}

    with pytest.raises(WireError, match="lacks something"):
        channel.ask(Other(), NONCE)


def test_the_key_signs_and_its_file_can_be_read_again(honest: Side) -> None:
    text = Path(honest.machine.sources.channel).read_text()
    public, private = tss2.parse(text)
    assert public == honest.answer.public
    assert text.endswith(tss2.pem(public, private))
    with AttestationTpm(honest.machine.tpm.tcti) as tpm:
        assert len(tpm.sign(public, private, bytes(32))) == 72


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN TSS2 PRIVATE KEY-----\n-----END TSS2 PRIVATE KEY-----\n",
        "-----BEGIN TSS2 PRIVATE KEY-----\n!!!!\n-----END TSS2 PRIVATE KEY-----\n",
        "-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n",
        tss2.pem(b"", b"").replace("BmeBBQoBA", "BmeBBQoBB"),  # another kind of key
        tss2.pem(b"", b"").replace("AgRAAAAB", "AgRAAAAC"),  # another parent
        tss2.pem(b"", b"").replace("\nM", "\nL", 1),
    ],
)
def test_a_key_file_that_is_none(text: str) -> None:
    with pytest.raises(MalformedError):
        tss2.parse(text)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 4000])
def test_areas_of_every_size(size: int) -> None:
    assert tss2.parse(tss2.pem(bytes(size), b"x")) == (bytes(size), b"x")
