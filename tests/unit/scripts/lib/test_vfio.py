"""What keeps a GPU from being passed through is named, with what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from lib import vfio

from tests.support.pci import AUDIO, BRIDGE, GPU, NETWORK, FakeHost


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost.at(tmp_path)


def test_a_host_that_has_everything(host: FakeHost) -> None:
    host.add(GPU, driver="vfio-pci")
    host.add(AUDIO, driver="vfio-pci", kind="0x040300")
    host.add(BRIDGE, driver="pcieport", kind="0x060400")
    assert vfio.missing(GPU, host) == []
    assert vfio.missing("41:00.0", host) == []


def test_a_gpu_that_its_driver_holds_can_be_taken(host: FakeHost) -> None:
    host.add(GPU, driver="nvidia")
    host.add(AUDIO, kind="0x040300")
    assert vfio.missing(GPU, host) == []
    assert vfio.functions(GPU, host) == [GPU, AUDIO]


def test_a_group_that_reaches_beyond_the_slot_is_refused(host: FakeHost) -> None:
    host.add(GPU, driver="nvidia")
    host.add(NETWORK, driver="mlx5_core", kind="0x020000")
    (problem,) = vfio.missing(GPU, host)
    assert f"{NETWORK} is in the GPU's IOMMU group 17, held by mlx5_core" in problem


def test_processes_that_use_the_gpu_are_named(host: FakeHost) -> None:
    host.add(GPU, driver="nvidia")
    host.use(GPU, minor=3, pid=812, name="python3")
    host.use("0000:42:00.0", minor=4, pid=813, name="other")
    assert vfio.missing(GPU, host) == [f"{GPU} is used by python3 (812): end it"]


def test_a_descriptor_that_is_closed_meanwhile_hides_no_other(host: FakeHost) -> None:
    host.add(GPU, driver="nvidia")
    host.use(GPU, minor=3, pid=812, name="python3")
    # What cannot be read as a link stands for one that is gone by then.
    (host.proc / "812/fd/8").write_text("")
    assert host.users(GPU) == ["python3 (812)"]


def test_the_kernel_takes_what_is_written_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = vfio.PciHost()
    host.write(tmp_path / "unbind", GPU)
    assert (tmp_path / "unbind").read_text() == GPU
    with pytest.raises(vfio.PassthroughError, match=f"(?s)did not take '{GPU}'.*tee.*directory"):
        host.write(tmp_path / "none/unbind", GPU)
    monkeypatch.setattr(vfio, "WRITE_DEADLINE_S", 0.1)
    os.mkfifo(tmp_path / "held")
    with pytest.raises(vfio.PassthroughError, match=r"no end after 0\.1 s"):
        host.write(tmp_path / "held", GPU)


def test_the_gpu_of_the_console_is_not_taken(host: FakeHost) -> None:
    host.add(GPU, driver="nvidia")
    (host.device(GPU) / "boot_vga").write_text("1\n")
    (problem,) = vfio.missing(GPU, host)
    assert "shows the host's console" in problem


def test_without_an_iommu_it_says_how_to_switch_it_on(host: FakeHost) -> None:
    host.add(GPU, group="", driver="vfio-pci")
    (problem,) = vfio.missing(GPU, host)
    assert "intel_iommu=on" in problem


def test_without_kvm_without_the_driver_and_without_rights(host: FakeHost) -> None:
    host.add(GPU, group="18", driver="vfio-pci")
    (problem,) = vfio.missing(GPU, host)
    assert problem.startswith(f"{host.devices}/vfio/18 cannot be opened")
    (host.devices / "kvm").unlink()
    host.unload("vfio-pci")
    kvm, driver, *_ = vfio.missing(GPU, host)
    assert "/dev/kvm cannot be opened" in kvm
    assert "modprobe vfio-pci" in driver


def test_kvm_that_runs_no_guest(tmp_path: Path) -> None:
    host = FakeHost.at(tmp_path, runs_kvm=False)
    host.add(GPU, driver="nvidia")
    (problem,) = vfio.missing(GPU, host)
    assert "KVM, which runs no guest on this host" in problem


@pytest.mark.parametrize("address", ["", "gpu", "0000:41:00", "0000:41:00.8", "41:00.0 "])
def test_what_is_no_address_is_said_to_be_none(host: FakeHost, address: str) -> None:
    (problem,) = vfio.missing(address, host)
    assert "no PCI address" in problem


def test_a_device_that_is_not_there(host: FakeHost) -> None:
    (problem,) = vfio.missing("0000:99:00.0", host)
    assert "there is no PCI device 0000:99:00.0" in problem
