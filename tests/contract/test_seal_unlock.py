"""What opening the state comes to on each kind of partition: libcryptsetup, swtpm (EMULATED).

Only device-mapper is left out: a volume is opened, and what would be mapped is noted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from ainit.errors import RefusedError, TpmError
from ainit.linux.luks import Volume
from ainit.linux.tpm import Tpm
from ainit.seal import first
from ainit.seal.report import LOCKED, OPEN, Report
from ainit.seal.reset import reset
from ainit.seal.unlock import unlock
from ainit.seal.vault import LABEL, UNFINISHED
from tests.support.sealing import SealedMachine
from tests.unit.attest.swtpm import Swtpm


@pytest.fixture(scope="module")
def running() -> Iterator[Swtpm]:
    with Swtpm() as tpm:
        yield tpm


class Bench:
    """A machine with a boot partition."""

    def __init__(self, machine: SealedMachine, folder: Path) -> None:
        self.machine = machine
        self.images = folder / "EFI/Linux"
        self.images.mkdir(parents=True)
        self.folder = folder
        self.mapped: list[str] = []

    def boot_partition(self) -> AbstractContextManager[str]:
        """It, mounted."""
        return nullcontext(str(self.folder))

    def deliver(self) -> None:
        """Put the approvals of the machine's images on it."""
        for word in self.machine.approvals:
            (self.images / f"ainos_{word.version}.seal.json").write_bytes(word.to_bytes())

    def unlock(self) -> Report:
        """As PID 1 has it done at boot."""
        mapped = self.mapped

        class Noting(Volume):
            def activate(self, name: str, secret: bytes) -> int:
                mapped.append(name)
                return self.slot_of(secret)

        self.mapped.clear()
        tpm = self.machine.tpm.tpm
        return unlock(self.machine.device, tpm, self.boot_partition, Noting)


@pytest.fixture
def bench(running: Swtpm, tmp_path: Path) -> Bench:
    """A machine that was installed with generation 1."""
    machine = SealedMachine(running, tmp_path / "state")
    machine.boot(1)
    machine.begin()
    bench = Bench(machine, tmp_path / "boot")
    bench.deliver()
    return bench


def test_a_sealed_state_is_opened(bench: Bench) -> None:
    report = bench.unlock()
    assert (report.state, report.findings, report.floor) == (OPEN, (), 1)
    assert bench.mapped == ["state"]
    assert set(report.pcrs) == {7, 9, 11, 12}


def test_an_update_is_sealed_ahead_for(bench: Bench) -> None:
    bench.machine.boot(2)
    bench.machine.approve()
    bench.deliver()
    report = bench.unlock()
    assert (report.state, report.notes) == (OPEN, ("sealed for floor 2",))


def test_an_image_without_an_approval_opens_nothing(bench: Bench) -> None:
    bench.machine.boot(2)
    report = bench.unlock()
    assert (report.state, bench.mapped) == (LOCKED, [])
    assert "differs from what was signed for 0.1" in report.findings[0]


def test_a_damaged_approval_is_named(bench: Bench) -> None:
    (bench.images / "ainos_0.1.seal.json").write_text("{")
    report = bench.unlock()
    assert report.state == LOCKED
    assert report.findings == (
        "no image on the boot partition has an approval: nobody signed what booted",
    )
    assert report.notes[0].startswith("ainos_0.1.seal.json:1: ")


def test_a_header_that_cannot_be_kept_up_is_open_all_the_same(bench: Bench) -> None:
    word = bench.machine.approvals[0]
    record = word.to_record()
    signatures = record["signatures"]
    assert isinstance(signatures, dict)
    signatures["2"] = signatures["1"]  # it is not good for that floor
    record["generation"] = 2
    place = bench.images / "ainos_0.1.seal.json"
    place.write_text(str(record).replace("'", '"'))
    report = bench.unlock()
    assert (report.state, bench.mapped) == (OPEN, ["state"])
    assert report.notes[0].startswith("the header was not kept up: TPM2_VerifySignature")


def seeded(bench: Bench) -> Bench:
    """What a new state is made of lies on the boot partition."""
    seed = bench.folder / first.SEED
    seed.parent.mkdir()
    seed.write_bytes(b"")
    return bench


def test_a_state_that_is_given_up_opens_with_no_key(bench: Bench) -> None:
    device = bench.machine.device
    assert "the next boot makes a new one" in reset(device, seeded(bench).boot_partition)
    with Volume(device) as volume:
        volume.load()
        assert (volume.label, volume.slots()) == (UNFINISHED, [])
        with pytest.raises(RefusedError, match="opens nothing"):
            volume.slot_of(bench.machine.RECOVERY.encode())
    reset(device, bench.boot_partition)  # once more, as after a fault on the way


def test_a_state_that_is_given_up_is_made_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is one whose first boot was interrupted: both headers say that they are unfinished."""
    reset(bench.machine.device, seeded(bench).boot_partition)
    left: list[str] = []
    monkeypatch.setattr(first, "fill", lambda seed, device: left.append(device))
    monkeypatch.setattr(first, "_leave_key", left.append)
    report = bench.unlock()
    assert (report.state, report.findings) == (OPEN, ())
    assert left[0] == "/dev/mapper/state"
    with Volume(bench.machine.device) as volume:
        volume.load()
        assert (volume.label, volume.slots()) == (LABEL, [0, 1])
        assert volume.slot_of(left[1].encode()) == 1
        with pytest.raises(RefusedError, match="opens nothing"):
            volume.slot_of(bench.machine.RECOVERY.encode())
    assert bench.unlock().state == OPEN


def test_a_power_cut_after_the_name_leaves_a_state_that_is_made_anew(bench: Bench) -> None:
    """The first write says it all: what comes after it is for those who have the disk."""
    seeded(bench)

    class Cut(Volume):
        def drop(self, slot: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reset(bench.machine.device, bench.boot_partition, Cut)
    with Volume(bench.machine.device) as volume:
        volume.load()
        assert (volume.label, volume.slots()) == (UNFINISHED, [0, 1])


def test_nothing_is_given_up_that_cannot_be_made_anew(bench: Bench) -> None:
    with pytest.raises(RefusedError, match="nothing to start from"):
        reset(bench.machine.device, bench.boot_partition)
    assert bench.unlock().state == OPEN


def test_a_volume_of_somebody_else_is_not_given_up(bench: Bench) -> None:
    with Volume(bench.machine.device) as volume:
        volume.load()
        volume.name("backup")
    with pytest.raises(RefusedError, match="not ours"):
        reset(bench.machine.device, seeded(bench).boot_partition)
    with Volume(bench.machine.device) as volume:
        volume.load()
        assert volume.slots() == [0, 1]


def test_a_volume_of_somebody_else_is_left_alone(bench: Bench) -> None:
    with Volume(bench.machine.device) as volume:
        volume.load()
        volume.name("holiday pictures")
    before = Path(bench.machine.device).read_bytes()
    report = bench.unlock()
    assert "is a LUKS2 volume, 'holiday pictures', but not ours" in report.findings[0]
    assert Path(bench.machine.device).read_bytes() == before


@pytest.mark.parametrize("place", [4096, 0x10040, 31 << 20])
def test_what_is_neither_blank_nor_a_volume_is_left_alone(bench: Bench, place: int) -> None:
    with open(bench.machine.device, "r+b") as file:
        file.truncate(0)
        file.truncate(32 << 20)
        file.seek(place)
        file.write(b"somebody's data")
    before = Path(bench.machine.device).read_bytes()
    report = bench.unlock()
    assert report.state == LOCKED
    assert "is neither blank nor a LUKS2 volume" in report.findings[0]
    assert Path(bench.machine.device).read_bytes() == before


def test_a_blank_one_stays_blank_without_an_approval(bench: Bench) -> None:
    os.truncate(bench.machine.device, 0)
    os.truncate(bench.machine.device, 32 << 20)
    bench.machine.boot(7)
    report = bench.unlock()
    assert report.findings == ("the state partition is blank, and this image has no approval",)
    assert Path(bench.machine.device).read_bytes() == bytes(32 << 20)


def test_without_a_tpm_it_stays_closed(bench: Bench) -> None:
    def none() -> Tpm:
        raise TpmError("no TPM: /dev/tpmrm0: No such file or directory")

    report = unlock(bench.machine.device, none, bench.boot_partition)
    assert (report.state, report.findings) == (
        LOCKED,
        ("no TPM: /dev/tpmrm0: No such file or directory",),
    )
