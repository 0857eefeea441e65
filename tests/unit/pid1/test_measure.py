"""Extend first, record then, once each; and go on without a TPM, saying so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ainit.errors import MeasurementError, NotCoveredError, TpmError
from ainit.linux import fsverity
from ainit.linux.tpm import Tpm
from ainit.pid1.measure import Measurements
from ainit.policy import phases
from tests.support.notebook import Notebook
from tests.support.tpm import PcrBank

HEX = "sha256:" + "ab" * 32
EVENT = phases.measured("model", "speech", HEX)
OTHER = phases.measured("agent", "listener", HEX)
EXTEND = (0x182).to_bytes(4, "big")


class Bench:
    """Measurements over a TPM in memory, with the log in a directory."""

    def __init__(self, directory: Path) -> None:
        self.bank = PcrBank()
        self.path = directory / "measurements.cel"
        self.directory = directory
        self.journal = Notebook()
        self.measurements = self.make(self.journal)

    def make(self, journal: Notebook) -> Measurements:
        return Measurements(
            journal, lambda: Tpm(transmit=self.transmit), str(self.path), str(self.directory)
        )

    def again(self) -> Measurements:
        """PID 1 is executed anew: the TPM, the log and the journal are what they were."""
        self.journal = self.journal.reopened()
        self.measurements = self.make(self.journal)
        return self.measurements

    def extends(self) -> int:
        """How often a PCR was extended."""
        return sum(command[6:10] == EXTEND for command in self.bank.commands)

    def check_log(self) -> None:
        """The log explains the PCRs."""
        for pcr, value in phases.replay(self.log()).items():
            assert self.bank.values[pcr] == value

    def transmit(self, command: bytes) -> bytes:
        # The log never claims more than the TPM holds: at this moment it is still shorter.
        self.records_at_extend = len(self.log())
        return self.bank.transmit(command)

    def log(self) -> list[dict[str, object]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text("ascii").splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_pcr_is_extended_before_the_record_is_written(bench: Bench) -> None:
    bench.measurements.add(EVENT)
    assert bench.records_at_extend == 0
    bench.measurements.add(OTHER)
    assert bench.records_at_extend == 1
    assert bench.log() == bench.measurements.records == [EVENT.record(0), OTHER.record(1)]
    assert bench.bank.values[13] == phases.fold(bytes(32), EVENT.digest)
    assert bench.measurements.pcrs()["14"] == phases.fold(bytes(32), OTHER.digest).hex()


def test_each_is_extended_once(bench: Bench) -> None:
    for _ in range(3):
        bench.measurements.add(EVENT)
        bench.measurements.add(phases.measured("model", "speech", HEX))
    assert len(bench.bank.commands) == 1
    assert len(bench.log()) == 1
    bench.measurements.add(phases.measured("policy", "speech", HEX))
    assert len(bench.log()) == 2


def test_without_a_tpm_it_is_recorded_and_said(tmp_path: Path) -> None:
    def no_tpm() -> Tpm:
        raise TpmError("no TPM: /dev/tpmrm0: No such file or directory")

    path = tmp_path / "log"
    measurements = Measurements(Notebook(), no_tpm, str(path), str(tmp_path))
    assert not measurements.has_tpm
    assert measurements.tpm_state == "no TPM: /dev/tpmrm0: No such file or directory"
    measurements.add(EVENT)
    assert measurements.records == [EVENT.record(0)]
    assert measurements.pcrs() == {}


def test_a_tpm_lost_midway_is_not_asked_again(bench: Bench) -> None:
    bench.measurements.add(EVENT)
    bench.bank.code = 0x101
    bench.measurements.add(OTHER)
    assert not bench.measurements.has_tpm
    assert "extend of PCR 14: the TPM answered with error 0x101" in bench.measurements.tpm_state
    bench.bank.code = 0
    bench.measurements.add(phases.cap(13))
    assert len(bench.bank.commands) == 2
    assert [record["recnum"] for record in bench.log()] == [0, 1, 2]
    assert bench.measurements.pcrs() == {}


def test_a_busy_tpm_is_not_a_lost_one(bench: Bench) -> None:
    bench.bank.code = 0x922
    assert bench.measurements.pcrs() == {}
    bench.bank.code = 0
    bench.measurements.add(EVENT)
    assert bench.measurements.has_tpm
    assert bench.measurements.pcrs()[str(EVENT.pcr)] != "00" * 32


def test_a_log_that_cannot_be_written_does_not_extend_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench.measurements, "_append", full)
    with pytest.raises(OSError, match="No space"):
        bench.measurements.add(EVENT)
    measurements = bench.again()
    measurements.add(EVENT)
    assert bench.extends() == 1
    assert bench.log() == measurements.records == [EVENT.record(0)]
    bench.check_log()


def test_whoever_takes_over_measures_nothing_again(bench: Bench) -> None:
    bench.measurements.add(EVENT)
    bench.measurements.add(OTHER)
    records = bench.measurements.records
    measurements = bench.again()
    assert measurements.records == records
    measurements.add(EVENT)
    assert bench.extends() == 2
    measurements.add(phases.cap(13))
    assert [record["recnum"] for record in bench.log()] == [0, 1, 2]
    bench.check_log()


class Fault(BaseException):
    """PID 1 fails."""


@pytest.mark.parametrize("point", range(1, 9))
@pytest.mark.parametrize("before", [[], [OTHER], [phases.measured("model", "other", HEX)]])
def test_a_fault_anywhere_in_a_measurement_measures_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, before: list[phases.Event], point: int
) -> None:
    """Before, between and after: journal, extend, record, journal."""
    for event in before:
        bench.measurements.add(event)
    passed = [0]

    def pass_point() -> None:
        passed[0] += 1
        if passed[0] == point:
            raise Fault

    bench.journal._hook = pass_point
    transmit, append = bench.bank.transmit, Measurements._append

    def transmitted(command: bytes) -> bytes:
        pass_point()
        answer = transmit(command)
        pass_point()
        return answer

    def appended(measurements: Measurements, text: str) -> None:
        pass_point()
        append(measurements, text)
        pass_point()

    with monkeypatch.context() as broken:
        broken.setattr(bench.bank, "transmit", transmitted)
        broken.setattr(Measurements, "_append", appended)
        with pytest.raises(Fault):
            bench.measurements.add(EVENT)
    bench.journal._hook = lambda: None
    measurements = bench.again()
    measurements.add(EVENT)
    assert [record["content"] for record in bench.log()] == [
        event.content for event in (*before, EVENT)
    ]
    assert bench.extends() == 1 + len(before)
    assert measurements.has_tpm
    bench.check_log()
    assert bench.again().records == measurements.records


def test_an_extend_by_somebody_else_over_a_fault_is_found_out(bench: Bench) -> None:
    bench.measurements.add(EVENT)
    bench.journal.put("measuring", [OTHER.pcr, OTHER.content])
    bench.bank.values[OTHER.pcr] = b"\1" * 32
    measurements = bench.again()
    assert not measurements.has_tpm
    assert measurements.tpm_state == "PCR 14 was extended by somebody else"
    assert measurements.records == [EVENT.record(0), OTHER.record(1)]


def test_a_tpm_that_was_given_up_stays_so(bench: Bench) -> None:
    bench.bank.code = 0x101
    bench.measurements.add(EVENT)
    bench.bank.code = 0
    measurements = bench.again()
    assert not measurements.has_tpm
    assert "extend of PCR 13: the TPM answered with error 0x101" in measurements.tpm_state
    measurements.add(OTHER)
    assert bench.extends() == 1


@pytest.mark.parametrize("line", ["3", "[]", "null"])
def test_a_log_that_is_none_is_an_error(bench: Bench, line: str) -> None:
    bench.path.write_text(line + "\n", "ascii")
    with pytest.raises(MeasurementError, match="record 0 is no record"):
        bench.again()


def test_a_file_on_the_verified_root_is_hashed_here(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10_000)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.lseek(descriptor, 5, os.SEEK_SET)
        expected = fsverity.text(fsverity.digest_file(str(path)))
        assert bench.measurements.digest(descriptor) == expected
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    finally:
        os.close(descriptor)


def test_a_file_elsewhere_is_not_covered(bench: Bench) -> None:
    with open("/proc/version", "rb") as file, pytest.raises(NotCoveredError):
        bench.measurements.digest(file.fileno())


def test_a_file_too_large_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open(path, "wb") as file:
        file.truncate((64 << 20) + 1)
    with open(path, "rb") as file, pytest.raises(MeasurementError, match="too large"):
        bench.measurements.digest(file.fileno())


def test_what_cannot_be_read_is_refused(bench: Bench, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(MeasurementError, match="cannot be read: Is a directory"):
            bench.measurements.digest(descriptor)
    finally:
        os.close(descriptor)


def test_the_boot_comes_first_and_only_once(bench: Bench) -> None:
    bench.measurements.begin()
    bench.measurements.add(EVENT)
    again = bench.again()
    again.begin()
    assert [record["content"] for record in bench.log()] == [
        {"type": "boot", "resets": 7, "restarts": 0},
        EVENT.content,
    ]
    bench.check_log()


def test_a_tpm_that_was_reset_shows_after_a_fault(bench: Bench) -> None:
    """The counters of the log stay those of the boot; a quote has the others."""
    bench.measurements.begin()
    bench.bank.counters = (8, 0)
    bench.again()
    assert bench.log()[0]["content"] == {"type": "boot", "resets": 7, "restarts": 0}


def test_without_counters_the_tpm_is_given_up(bench: Bench) -> None:
    bench.bank.code = 0x101
    bench.measurements.begin()
    assert not bench.measurements.has_tpm
    assert bench.log() == []
