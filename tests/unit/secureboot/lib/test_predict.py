"""Predicted PCRs, against values that firmware and systemd's own tool have produced."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from lib.host import HostError

from ainit.ota.pe import Image
from secureboot.lib import predict
from secureboot.lib.predict import predict_boot, predict_boot_set
from tests.support import pe

SAMPLE = Path(__file__).parents[3] / "data" / "secureboot" / "ovmf-pcr7.json"
RECORDED = json.loads(SAMPLE.read_text())
VARIABLES = {name: bytes.fromhex(data) for name, data in RECORDED["variables"].items()}
AUTHORITY = bytes.fromhex(RECORDED["authority"])
LOADER = pe.attach(pe.build({".text": b"loader"}), b"signature")
UKI_SECTIONS = {
    f".{name}": f"the {name} section".encode()
    for name in ("sbat", "uname", "cmdline", "osrel", "linux")
}
UKI = pe.attach(pe.build(UKI_SECTIONS), b"signature")


def fold(*events: bytes) -> bytes:
    """A PCR, written out."""
    value = bytes(32)
    for event in events:
        value = hashlib.sha256(value + event).digest()
    return value


def boot(loader: bytes = LOADER, uki: bytes = UKI) -> dict[int, bytes]:
    return predict_boot(loader=loader, uki=uki, variables=VARIABLES, authority=AUTHORITY)


def test_pcr_7_is_what_ovmf_measured() -> None:
    assert boot()[7].hex() == RECORDED["pcr7"]


@pytest.mark.parametrize("name", ["PK", "KEK", "dbx"])
def test_each_variable_counts_in_pcr_7(name: str) -> None:
    other = VARIABLES | {name: VARIABLES[name] + b"\0"}
    pcrs = predict_boot(loader=LOADER, uki=UKI, variables=other, authority=AUTHORITY)
    assert pcrs[7] != boot()[7]
    assert {pcr: pcrs[pcr] for pcr in (4, 9, 11)} == {pcr: boot()[pcr] for pcr in (4, 9, 11)}


# What `systemd-measure calculate --bank=sha256 --phase=` of systemd 257.13 prints for these
# sections, each with the contents "the <name> section".
MEASURED_BY_SYSTEMD = {
    "linux osrel cmdline uname sbat": (
        "4260073a7bbfe16a1992630adb83aa9646e4c0cda9f8fa17c876696f2df66eb0"
    ),
    "linux osrel cmdline ucode splash uname sbat pcrpkey profile": (
        "34509bbc8d27d7e3ae8d3f932800ba25d70775ce4c002b926b1cb773af3bef7d"
    ),
}


@pytest.mark.parametrize("names", MEASURED_BY_SYSTEMD)
def test_pcr_11_is_what_systemd_measure_computes(names: str) -> None:
    sections = {f".{name}": f"the {name} section".encode() for name in reversed(names.split())}
    assert predict.extend(predict.stub_events(sections)).hex() == MEASURED_BY_SYSTEMD[names]


def test_pcr_11_leaves_out_its_own_signature_and_what_is_no_section_of_the_stub() -> None:
    more = UKI_SECTIONS | {".pcrsig": b"x", ".text": b"x"}
    assert predict.stub_events(more) == predict.stub_events(UKI_SECTIONS)


def test_pcr_4_is_action_separator_loader_and_uki_in_this_order() -> None:
    assert boot()[4] == fold(
        hashlib.sha256(b"Calling EFI Application from Boot Option").digest(),
        hashlib.sha256(bytes(4)).digest(),
        Image(LOADER).authenticode(),
        Image(UKI).authenticode(),
    )


def test_pcr_9_is_the_command_line_as_the_kernel_gets_it() -> None:
    text = "the cmdline section".encode("utf-16-le") + b"\0\0"
    assert boot()[9] == fold(hashlib.sha256(text).digest())


def test_what_firmware_would_not_start_is_not_predicted() -> None:
    with pytest.raises(HostError, match="must be signed"):
        boot(loader=pe.build({".text": b"loader"}))
    with pytest.raises(HostError, match="not enrolled"):
        predict_boot(loader=LOADER, uki=UKI, variables=VARIABLES, authority=b"another")
    with pytest.raises(HostError, match="Secure Boot is off"):
        predict.policy_events(VARIABLES | {"SecureBootEnable": b"\0"}, AUTHORITY)
    with pytest.raises(HostError, match="database is malformed"):
        predict.signature_entry(bytes(28), AUTHORITY)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({".initrd": b"x"}, "initrd"),
        ({".hwids": b"x", ".dtbauto": b"x"}, r"\.dtbauto, \.hwids .*depends on the machine"),
    ],
)
def test_a_uki_that_boots_in_more_than_one_way_is_not_predicted(
    sections: dict[str, bytes], reason: str
) -> None:
    with pytest.raises(HostError, match=reason):
        boot(uki=pe.attach(pe.build(UKI_SECTIONS | sections), b"signature"))
    with pytest.raises(HostError, match=r"no \.cmdline and no \.linux"):
        predict.stub_events({})


MANIFEST = {
    "machine_config": {"digest": "sha256:" + "11" * 32},
    "models": [
        {"name": "b", "kind": "policy", "digest": "sha256:" + "33" * 32},
        {"name": "a", "kind": "model", "digest": "sha256:" + "22" * 32},
    ],
    "agents": [{"name": "c", "digest": "sha256:" + "44" * 32}],
}


def event(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def test_the_boot_set_is_predicted_from_the_manifest() -> None:
    def artefact(name: str, kind: str, byte: str) -> bytes:
        digest = "sha256:" + byte * 32
        return event(f'{{"digest":"{digest}","name":"{name}","type":"{kind}"}}')

    assert predict_boot_set(MANIFEST) == {
        12: fold(artefact("machine", "machine-config", "11"), event('{"pcr":12,"type":"cap"}')),
        13: fold(
            artefact("a", "model", "22"),
            artefact("b", "policy", "33"),
            event('{"pcr":13,"type":"cap"}'),
        ),
        14: fold(artefact("c", "agent", "44"), event('{"pcr":14,"type":"cap"}')),
    }


def test_a_manifest_without_a_boot_set_is_refused() -> None:
    with pytest.raises(HostError, match="agents"):
        predict_boot_set({name: part for name, part in MANIFEST.items() if name != "agents"})
