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
from tests.support.tpm import PcrBank

HEX = "sha256:" + "ab" * 32
EVENT = phases.measured("model", "speech", HEX)
OTHER = phases.measured("agent", "listener", HEX)


class Bench:
    """Measurements over a TPM in memory, with the log in a directory."""

    def __init__(self, directory: Path) -> None:
        self.bank = PcrBank()
        self.path = directory / "measurements.cel"
        self.measurements = Measurements(
            lambda: Tpm(transmit=self.transmit), str(self.path), str(directory)
        )

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
    measurements = Measurements(no_tpm, str(path), str(tmp_path))
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


def test_a_log_that_cannot_be_written_does_not_extend_twice(bench: Bench) -> None:
    bench.path.mkdir()
    bench.log = list  # type: ignore[method-assign]
    with pytest.raises(OSError, match="directory"):
        bench.measurements.add(EVENT)
    bench.measurements.add(EVENT)
    assert len(bench.bank.commands) == 1
    assert bench.measurements.records == [EVENT.record(0)]


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
