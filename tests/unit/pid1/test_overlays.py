"""What the state partition says of a sandbox, as PID 1 takes it: measured, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.linux.tpm import Tpm
from ainit.pid1.measure import Measurements
from ainit.pid1.overlays import Overlays
from ainit.policy import overlay, phases
from ainit.policy.plan import AGENT, JOB, SERVICE, Unit
from tests.support.notebook import Notebook
from tests.support.tpm import PcrBank


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bank = PcrBank()
        self.measurements = Measurements(
            Notebook(), lambda: Tpm(transmit=self.bank.transmit), str(folder / "log"), str(folder)
        )
        self.overlays = Overlays(self.measurements, str(folder), str(folder / "on"))
        self.unit = Unit("notes", AGENT)
        self.unit.sandbox = {"read": ["/srv"], "system_calls": ["jit"]}

    def put(self, data: bytes) -> None:
        (self.folder / "notes.json").write_bytes(data)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_without_one_it_is_the_manifest_s(bench: Bench) -> None:
    found = bench.overlays.profile(bench.unit)
    assert found is not None
    assert (found.read, found.system_calls) == (("/srv",), ("jit",))
    assert bench.measurements.records == []


@pytest.mark.parametrize("kind", [SERVICE, JOB])
def test_what_has_no_sandbox_has_no_overlay(bench: Bench, kind: str) -> None:
    bench.put(b"nonsense")
    assert bench.overlays.profile(Unit("notes", kind)) is None


def test_one_is_measured_before_it_is_used_and_once(bench: Bench) -> None:
    bench.put(overlay.dump("notes", {"read": ["/srv/a"]}))
    for _ in range(2):
        found = bench.overlays.profile(bench.unit)
        assert found is not None
        assert (found.read, found.system_calls) == (("/srv/a",), ())
    (record,) = bench.measurements.records
    assert record["pcr"] == 14
    event = phases.parse(record, 0)
    assert (event.content["type"], event.content["name"]) == ("sandbox", "notes")
    assert phases.replay([record])[14] == Tpm(transmit=bench.bank.transmit).read((14,))[14]
    bench.put(overlay.dump("notes", {}))
    bench.overlays.profile(bench.unit)
    assert len(bench.measurements.records) == 2


@pytest.mark.parametrize(
    "data",
    [
        overlay.dump("notes", {"read": ["/etc"]}),
        overlay.dump("other", {}),
        b"",
        b"{",
        b'"' + b"x" * overlay.BYTES_MAX,
    ],
)
def test_what_is_not_to_be_used_refuses_the_agent(bench: Bench, data: bytes) -> None:
    bench.put(data)
    with pytest.raises(RefusedError, match=r"not to be used: .*notes\.json: "):
        bench.overlays.profile(bench.unit)
    assert bench.measurements.records == []


def test_one_that_cannot_be_read_refuses_it_too_and_does_not_block(bench: Bench) -> None:
    os.mkfifo(bench.folder / "notes.json")
    with pytest.raises(RefusedError):
        bench.overlays.profile(bench.unit)
    (bench.folder / "notes.json").unlink()
    (bench.folder / "notes.json").symlink_to("/etc/hostname")
    with pytest.raises(RefusedError, match="symbolic links"):
        bench.overlays.profile(bench.unit)


def test_audit_mode_is_a_file(bench: Bench) -> None:
    assert not bench.overlays.is_audited(bench.unit)
    (bench.folder / "on").mkdir()
    (bench.folder / "on/notes").touch()
    assert bench.overlays.is_audited(bench.unit)
