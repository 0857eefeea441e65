"""What the GPU service relies on in a driver: the real adapter on the emulator, and the fake."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ainit.sched import place
from ainit.sched.errors import GpuBusyError, GpuError, GpuMissingError, NoRoomError
from ainit.sched.nvml import Nvml
from ainit.sched.opening import Gpus
from tests.contract import nvml_emulator
from tests.unit.sched.fake_nvml import (
    COMPUTE,
    CREATE,
    DESTROY,
    UNCOMPUTE,
    FakeNvml,
    Fault,
    Kind,
    board,
)

NAMES = {
    CREATE: "create-gpu-instance",
    COMPUTE: "create-compute-instance",
    UNCOMPUTE: "destroy-compute-instance",
    DESTROY: "destroy-gpu-instance",
}


@dataclass
class Bench:
    """A driver under test, and how to put a process on one of its instances."""

    gpus: Gpus
    occupy: Callable[[int, int], None]
    vacate: Callable[[], None]
    fault: Callable[[str, Kind, int], None]


@pytest.fixture(params=["fake", "emulator"])
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    if request.param == "fake":
        fake = FakeNvml()
        yield Bench(
            fake,
            lambda gpu, instance: fake.busy.add((gpu, instance)),
            fake.busy.clear,
            lambda call, kind, times: fake.faults.append(Fault(call, kind, times)),
        )
        return
    state = tmp_path / "state"
    inject = tmp_path / "state.inject"
    nvml_emulator.configure(monkeypatch, state)
    nvml_emulator.load()
    gpus = Nvml()

    def occupy(gpu: int, instance: int) -> None:
        inject.write_text(f"process {gpu} {instance} 0 {os.getpid()} 1048576\n")

    def fault(call: str, kind: Kind, times: int) -> None:
        inject.write_text(f"fault 0 {NAMES[call]} {kind.value} {times}\n")

    yield Bench(gpus, occupy, inject.unlink, fault)
    gpus.close()


def test_it_says_that_it_is_emulated(bench: Bench) -> None:
    assert bench.gpus.is_emulated
    assert "emulated" in bench.gpus.version


def test_the_boards_are_what_the_data_says(bench: Bench) -> None:
    devices = bench.gpus.devices()
    assert [device.index for device in devices] == [0, 1]
    assert len({device.uuid for device in devices}) == 2
    for device in devices:
        expected = board("H100-80GB", device.index)
        assert (device.name, device.memory_mib) == (expected.name, expected.memory_mib)
        assert device.profiles == expected.profiles
        assert device.pci_device_id == expected.pci_device_id
        assert device.mig
        assert device.slices == 8
        assert device.instances == ()


def test_an_instance_has_no_uuid_before_its_compute_instance(bench: Bench) -> None:
    number = bench.gpus.create_gpu_instance(1, "3g.40gb", 4)
    [instance] = bench.gpus.devices()[1].instances
    assert (instance.id, instance.profile, instance.start, instance.size) == (
        number,
        "3g.40gb",
        4,
        4,
    )
    assert (instance.uuid, instance.computes) == (None, 0)
    assert bench.gpus.devices()[0].instances == ()


def test_the_compute_instance_gives_the_uuid(bench: Bench) -> None:
    number = bench.gpus.create_gpu_instance(0, "1g.10gb", 6)
    uuid = bench.gpus.create_compute_instance(0, number)
    [instance] = bench.gpus.devices()[0].instances
    assert uuid.startswith("MIG-")
    assert (instance.uuid, instance.computes) == (uuid, 1)


def test_uuids_differ(bench: Bench) -> None:
    uuids = [
        bench.gpus.create_compute_instance(
            gpu, bench.gpus.create_gpu_instance(gpu, "1g.10gb", start)
        )
        for gpu in (0, 1)
        for start in range(7)
    ]
    assert len(set(uuids)) == 14


def test_the_compute_instance_is_full_width(bench: Bench) -> None:
    number = bench.gpus.create_gpu_instance(0, "4g.40gb", 0)
    bench.gpus.create_compute_instance(0, number)
    with pytest.raises(NoRoomError):
        bench.gpus.create_compute_instance(0, number)


def test_an_overlap_is_refused(bench: Bench) -> None:
    bench.gpus.create_gpu_instance(0, "2g.20gb", 2)
    with pytest.raises(NoRoomError):
        bench.gpus.create_gpu_instance(0, "1g.10gb", 3)
    with pytest.raises(NoRoomError):
        bench.gpus.create_gpu_instance(0, "4g.40gb", 0)
    bench.gpus.create_gpu_instance(1, "1g.10gb", 3)


def test_a_profile_with_a_limit_is_refused_beyond_it(bench: Bench) -> None:
    bench.gpus.create_gpu_instance(0, "1g.10gb+me", 0)
    with pytest.raises(NoRoomError):
        bench.gpus.create_gpu_instance(0, "1g.10gb+me", 1)


@pytest.mark.parametrize(("profile", "start"), [("2g.20gb", 1), ("3g.40gb", 2), ("9g.90gb", 0)])
def test_what_no_board_allows_is_refused(bench: Bench, profile: str, start: int) -> None:
    with pytest.raises(GpuError):
        bench.gpus.create_gpu_instance(0, profile, start)
    assert bench.gpus.devices()[0].instances == ()


def test_a_gpu_instance_with_a_compute_instance_is_busy(bench: Bench) -> None:
    number = bench.gpus.create_gpu_instance(0, "1g.10gb", 0)
    bench.gpus.create_compute_instance(0, number)
    with pytest.raises(GpuBusyError):
        bench.gpus.destroy_gpu_instance(0, number)


def test_a_compute_instance_with_a_process_is_busy(bench: Bench) -> None:
    number = bench.gpus.create_gpu_instance(0, "1g.10gb", 0)
    bench.gpus.create_compute_instance(0, number)
    bench.occupy(0, number)
    with pytest.raises(GpuBusyError):
        bench.gpus.destroy_compute_instances(0, number)
    bench.vacate()
    bench.gpus.destroy_compute_instances(0, number)


def test_destruction_frees_the_slices(bench: Bench) -> None:
    number = bench.gpus.create_gpu_instance(0, "7g.80gb", 0)
    bench.gpus.create_compute_instance(0, number)
    bench.gpus.destroy_compute_instances(0, number)
    bench.gpus.destroy_gpu_instance(0, number)
    assert bench.gpus.devices()[0].instances == ()
    assert bench.gpus.create_gpu_instance(0, "7g.80gb", 0)


def test_what_is_not_there_cannot_be_destroyed(bench: Bench) -> None:
    with pytest.raises(GpuError):
        bench.gpus.destroy_gpu_instance(0, 3)
    with pytest.raises(GpuError):
        bench.gpus.destroy_compute_instances(0, 3)
    with pytest.raises(GpuError):
        bench.gpus.create_compute_instance(0, 3)


def test_the_checker_and_the_driver_agree(bench: Bench) -> None:
    """On a half-full board, each placement is legal to the checker when the driver makes it."""
    bench.gpus.create_gpu_instance(0, "1g.10gb", 1)
    bench.gpus.create_gpu_instance(0, "2g.20gb", 4)
    for profile in bench.gpus.devices()[0].profiles:
        for start in range(8):
            devices = bench.gpus.devices()
            proposal = place.Proposal(0, profile.name, start, profile.memory)
            legal = not place.check(proposal, profile.name, devices)
            if legal:
                number = bench.gpus.create_gpu_instance(0, profile.name, start)
                bench.gpus.destroy_gpu_instance(0, number)
            else:
                with pytest.raises(GpuError):
                    bench.gpus.create_gpu_instance(0, profile.name, start)


def seen(bench: Bench) -> list[tuple[str, int, int]]:
    """(profile, start, compute instances) of all on GPU 0."""
    return [(each.profile, each.start, each.computes) for each in bench.gpus.devices()[0].instances]


@pytest.mark.parametrize(
    ("kind", "error", "after"),
    [
        (Kind.REFUSE, NoRoomError, []),
        (Kind.LATE, GpuError, [("1g.10gb", 2, 0)]),
        (Kind.NOTHING, GpuError, []),
        (Kind.ELSEWHERE, None, [("1g.10gb", 6, 0)]),
        (Kind.RESET, GpuError, []),
    ],
)
def test_faults_of_a_creation(
    bench: Bench, kind: Kind, error: type[GpuError] | None, after: list[tuple[str, int, int]]
) -> None:
    bench.fault(CREATE, kind, 1)
    if error is None:
        bench.gpus.create_gpu_instance(0, "1g.10gb", 2)
    else:
        with pytest.raises(error):
            bench.gpus.create_gpu_instance(0, "1g.10gb", 2)
    assert seen(bench) == after
    bench.gpus.create_gpu_instance(0, "1g.10gb", 3)


@pytest.mark.parametrize("kind", [Kind.REFUSE, Kind.LATE])
def test_faults_of_a_compute_instance(bench: Bench, kind: Kind) -> None:
    number = bench.gpus.create_gpu_instance(0, "1g.10gb", 2)
    bench.fault(COMPUTE, kind, 1)
    with pytest.raises(GpuError):
        bench.gpus.create_compute_instance(0, number)
    assert seen(bench) == [("1g.10gb", 2, int(kind is Kind.LATE))]


@pytest.mark.parametrize(
    ("call", "kind", "error", "after"),
    [
        (UNCOMPUTE, Kind.REFUSE, GpuBusyError, [("1g.10gb", 2, 1)]),
        (UNCOMPUTE, Kind.LATE, GpuError, [("1g.10gb", 2, 0)]),
        (UNCOMPUTE, Kind.NOTHING, GpuBusyError, [("1g.10gb", 2, 1)]),
        (DESTROY, Kind.REFUSE, GpuBusyError, [("1g.10gb", 2, 0)]),
        (DESTROY, Kind.LATE, GpuError, []),
        (DESTROY, Kind.NOTHING, None, [("1g.10gb", 2, 0)]),
        (DESTROY, Kind.GHOST, None, []),
    ],
)
def test_faults_of_a_destruction(
    bench: Bench,
    call: str,
    kind: Kind,
    error: type[GpuError] | None,
    after: list[tuple[str, int, int]],
) -> None:
    number = bench.gpus.create_gpu_instance(0, "1g.10gb", 2)
    bench.gpus.create_compute_instance(0, number)
    bench.fault(call, kind, 1)

    def destroy() -> None:
        bench.gpus.destroy_compute_instances(0, number)
        bench.gpus.destroy_gpu_instance(0, number)

    if error is None:
        destroy()
    else:
        with pytest.raises(error):
            destroy()
    assert seen(bench) == after
    if kind is Kind.GHOST:
        with pytest.raises(NoRoomError):
            bench.gpus.create_gpu_instance(0, "1g.10gb", 2)


def test_the_processes_of_an_instance_are_shown(bench: Bench) -> None:
    number = bench.gpus.create_gpu_instance(0, "1g.10gb", 0)
    bench.gpus.create_compute_instance(0, number)
    assert bench.gpus.processes(0, number) == ()
    bench.occupy(0, number)
    assert len(bench.gpus.processes(0, number)) == 1


def test_a_machine_without_gpus_is_missing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml_emulator.configure(monkeypatch, tmp_path / "state", boards="")
    nvml_emulator.load()
    with pytest.raises(GpuMissingError, match="no device"):
        Nvml()


@pytest.mark.parametrize(("board_name", "notes"), [("H100-80GB", 0), ("A100-40GB", 1)])
def test_mig_is_switched_on_where_that_needs_no_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board_name: str, notes: int
) -> None:
    nvml_emulator.configure(monkeypatch, tmp_path / "state", boards=board_name, mig="0")
    nvml_emulator.load()
    gpus = Nvml()
    assert not gpus.devices()[0].mig
    assert gpus.devices()[0].profiles
    assert len(gpus.enable_mig()) == notes
    assert gpus.devices()[0].mig == (notes == 0)
    gpus.close()
