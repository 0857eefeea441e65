"""The header of a sealed state over its life: real libcryptsetup on a file, swtpm (EMULATED).

What needs a kernel with device-mapper, opening the volume for use, is tests/qemu's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ainit.child.server import VarlinkError
from ainit.errors import RefusedError, TpmError
from ainit.linux.luks import Volume
from ainit.seal import recovery, service, unlock
from ainit.seal.chip import Chip
from ainit.seal.commit import images
from ainit.seal.report import OPEN, read
from ainit.seal.vault import Vault, records
from tests.support.sealing import Approver, SealedMachine
from tests.unit.attest.swtpm import Swtpm

KEY = SealedMachine.RECOVERY


@pytest.fixture(scope="module")
def running() -> Iterator[Swtpm]:
    with Swtpm() as tpm:
        yield tpm


@pytest.fixture
def machine(running: Swtpm, tmp_path: Path) -> SealedMachine:
    """A machine that was installed with generation 1."""
    made = SealedMachine(running, tmp_path / "state")
    made.boot(1)
    made.begin()
    return made


def test_it_opens_at_every_boot(machine: SealedMachine) -> None:
    secret = machine.open()
    machine.boot(1)
    assert machine.open() == secret


def test_an_update_opens_it_and_seals_ahead(machine: SealedMachine) -> None:
    secret = machine.open()
    assert machine.floors() == [1]
    machine.boot(3)
    machine.approve()
    assert machine.open() == secret
    assert machine.floors() == [1, 2, 3]


def test_until_it_is_confirmed_the_old_image_is_there_to_fall_back_to(
    machine: SealedMachine,
) -> None:
    machine.boot(2)
    machine.approve()
    machine.open()
    machine.boot(1)
    machine.open()


def test_the_fallback_holds_the_floor_down(machine: SealedMachine) -> None:
    old = machine.approve()
    machine.boot(2)
    machine.approve()
    machine.open()
    assert machine.commit(old) == 1
    machine.boot(1)
    machine.open()


def test_after_the_floor_rose_the_old_image_opens_nothing(machine: SealedMachine) -> None:
    before = Path(machine.device).read_bytes()
    machine.boot(2)
    machine.approve()
    secret = machine.open()
    assert machine.commit() == 2
    machine.boot(1)
    assert machine.decide().findings == (
        "0.1 is of generation 1, below the floor of this machine, 2",
    )
    after = Path(machine.device).read_bytes()
    Path(machine.device).write_bytes(before)
    assert "an older header was put back" in machine.decide().findings[0]
    Path(machine.device).write_bytes(after)
    machine.boot(2)
    assert machine.open() == secret
    assert machine.floors() == [2]


def test_the_power_may_go_before_the_floor_rises(machine: SealedMachine) -> None:
    """Everything that the raised floor needs is in the header long before."""
    machine.boot(2)
    machine.approve()
    machine.open()
    machine.boot(2)
    machine.open()
    assert machine.floors() == [1, 2]
    assert machine.commit() == 2
    machine.boot(2)
    machine.open()


def test_a_floor_that_the_image_cannot_open_is_not_sealed_for(machine: SealedMachine) -> None:
    """Somebody wrote into the approval that it is good for a higher floor."""
    machine.boot(1)
    word = machine.approvals[0]
    claimed = {**word.signatures, 2: word.signatures[1]}
    machine.approvals[:] = [replace(word, generation=2, signatures=claimed)]
    with pytest.raises(TpmError, match="TPM2_VerifySignature"):
        machine.open()
    assert machine.floors() == [1]


def test_a_machine_that_is_installed_late_begins_at_its_generation(
    running: Swtpm, tmp_path: Path
) -> None:
    machine = SealedMachine(running, tmp_path / "state")
    machine.boot(5)
    machine.begin()
    assert (machine.decide().floor, machine.floors()) == (5, [5])
    machine.open()


def test_the_recovery_key_opens_its_slot(machine: SealedMachine) -> None:
    with Volume(machine.device) as volume:
        volume.load()
        typed = KEY.upper().replace("-", " ")
        assert volume.slot_of(recovery.normalised(typed)) == 1


# The owner's word.


@pytest.fixture
def seal(machine: SealedMachine, tmp_path: Path) -> service.Seal:
    """The service of that machine, on firmware whose keys were changed."""
    machine.boot(1, keys="changed")
    found = machine.decide()
    assert [finding[:5] for finding in found.findings] == ["PCR 7"]
    machine.report().write(str(tmp_path / "seal.json"))
    return service.Seal(machine.tpm.tpm, str(tmp_path / "seal.json"), str(tmp_path / "key"))


def test_sealed_anew_it_opens_on_the_changed_firmware(
    machine: SealedMachine, seal: service.Seal
) -> None:
    answer = seal.reseal({"key": KEY})
    assert answer == {"note": "sealed to 0.1 at floor 1"}
    machine.boot(1, keys="changed")
    machine.open()
    assert machine.floors() == [1]


def test_what_was_sealed_before_opens_nothing_any_more(
    machine: SealedMachine, seal: service.Seal
) -> None:
    machine.boot(1)
    old = machine.open()
    seal.reseal({"key": KEY})
    with Volume(machine.device) as volume:
        volume.load()
        with pytest.raises(RefusedError):
            volume.slot_of(old)


def test_the_slot_of_the_recovery_key_stays_whatever_a_record_says(
    machine: SealedMachine, seal: service.Seal
) -> None:
    """Who has the disk can write a record that names it as the TPM's."""
    with Volume(machine.device) as volume:
        volume.load()
        ((_, record),) = records(volume).values()
        volume.add_token("ainos-tpm2", 1, record.to_record())
    for _ in range(2):
        seal.reseal({"key": KEY})


@pytest.mark.parametrize("key", [recovery.text(bytes(32)), "no such key", "", 7])
def test_without_the_recovery_key_nothing_is_sealed(
    machine: SealedMachine, seal: service.Seal, key: object
) -> None:
    before = Path(machine.device).read_bytes()
    for method in (seal.reseal, seal.recover):
        with pytest.raises(VarlinkError):
            method({"key": key})
    assert Path(machine.device).read_bytes() == before


def test_below_the_floor_the_owner_may_go_back(machine: SealedMachine, seal: service.Seal) -> None:
    machine.boot(2, keys="ours")
    machine.approve()
    machine.open()
    machine.commit()
    machine.boot(1)
    assert not machine.decide().choices
    machine.report().write(str(Path(machine.device).with_name("seal.json")))
    assert seal.reseal({"key": KEY}) == {"note": "sealed to 0.1 at floor 1"}
    machine.open()


def test_a_counter_that_is_gone_is_made_anew(machine: SealedMachine, seal: service.Seal) -> None:
    machine.tpm.tool("tpm2_nvundefine", "-C", "o", "0x1a10f10")
    seal.reseal({"key": KEY})
    machine.open()


def test_an_image_that_nobody_approved_is_sealed_to_by_nobody(
    machine: SealedMachine, seal: service.Seal
) -> None:
    machine.boot(9)
    machine.report().write(str(Path(machine.device).with_name("seal.json")))
    with pytest.raises(VarlinkError) as caught:
        seal.reseal({"key": KEY})
    assert "has no approval" in str(caught.value.parameters["reason"])


# What is asked.


def test_status_says_what_changed_and_where_the_floor_is(seal: service.Seal) -> None:
    answer = seal.status({})
    assert (answer["state"], answer["floor"], answer["floors"]) == ("locked", 1, [1])
    assert (answer["version"], answer["generation"]) == ("0.1", 1)


def test_a_machine_that_is_not_sealed_says_so(tmp_path: Path) -> None:
    answer = service.Seal(path=str(tmp_path / "none")).status({})
    assert (answer["state"], answer["findings"]) == (
        "plain",
        ["the state of this machine is not sealed"],
    )


def test_an_update_is_predicted(machine: SealedMachine, seal: service.Seal, tmp_path: Path) -> None:
    machine.boot(1)
    machine.report().write(str(tmp_path / "seal.json"))
    pcrs = {9: b"n" * 32, 11: b"x" * 32, 12: bytes(32)}
    following = machine.approver.approve(2, pcrs)
    assert seal.predict({"approval": following.to_record()}) == {"opens": True, "findings": []}
    stranger = Approver().approve(2, pcrs)
    answer = seal.predict({"approval": stranger.to_record()})
    assert not answer["opens"]
    assert "by another key" in str(answer["findings"])
    with pytest.raises(VarlinkError):
        seal.predict({"approval": {}})


def test_a_downgrade_is_predicted_too(
    machine: SealedMachine, seal: service.Seal, tmp_path: Path
) -> None:
    old = machine.approvals[0]
    machine.boot(2)
    machine.approve()
    machine.open()
    machine.commit()
    machine.report().write(str(tmp_path / "seal.json"))
    answer = seal.predict({"approval": old.to_record()})
    assert answer["findings"] == ["0.1 is of generation 1, below the floor of this machine, 2"]


def test_the_recovery_key_is_told_once(seal: service.Seal, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    assert seal.status({})["recovery_waits"] is True
    assert seal.recovery_key({}) == {"key": KEY}
    assert seal.status({})["recovery_waits"] is False
    with pytest.raises(VarlinkError):
        seal.recovery_key({})


# What the TPM refuses although it should not.


def test_a_record_that_the_tpm_refuses_is_told(machine: SealedMachine) -> None:
    decision = machine.decide()
    machine.tpm.tpm().extend(7, bytes(32))  # after it was looked at
    with Volume(machine.device) as volume, Chip(machine.tpm.tpm()) as chip:
        volume.load()
        with pytest.raises(TpmError, match=r"does not give the key out: floor 1: TPM2_Unseal"):
            Vault(volume, chip).open(decision)


# The boot partition.


def test_images_and_approvals_belong_together_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "EFI/Linux"
    folder.mkdir(parents=True)
    word = Approver().approve(2, {9: bytes(32), 11: bytes(32), 12: bytes(32)})
    (folder / "ainos_0.2.seal.json").write_bytes(word.to_bytes())
    (folder / "ainos_0.1.seal.json").write_bytes(b"{}")
    for name in ("ainos_0.2+2-1.efi", "ainos_0.1+3.efi", "other.efi"):
        (folder / name).touch()
    known, wrong = unlock.approvals(str(tmp_path))
    assert known == {"ainos_0.2.seal.json": word}
    assert [text.partition(":")[0] for text in wrong] == ["ainos_0.1.seal.json"]
    assert images(str(tmp_path)) == {
        "ainos_0.2+2-1.efi": word,
        "ainos_0.1+3.efi": None,
        "other.efi": None,
    }


def test_a_report_is_read_as_it_was_written(machine: SealedMachine, tmp_path: Path) -> None:
    report = machine.report().with_notes("a note")
    place = str(tmp_path / "seal.json")
    report.write(place)
    assert read(place) == report
    assert os.stat(place).st_mode & 0o777 == 0o600
    assert report.state != OPEN
