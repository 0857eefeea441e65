"""A GPU that was lent comes back to the driver that it had, whatever happens between."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib.passthrough import Passthrough
from lib.vfio import PassthroughError

from tests.support.pci import AUDIO, BRIDGE, GPU, NETWORK, FakeHost


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    host = FakeHost.at(tmp_path / "host")
    host.add(GPU, driver="nvidia")
    host.add(AUDIO, driver="snd_hda_intel", kind="0x040300")
    host.add(BRIDGE, driver="pcieport", kind="0x060400")
    return host


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records"


def drivers(host: FakeHost) -> list[str]:
    return [host.driver(address) for address in (GPU, AUDIO, BRIDGE)]


def test_all_functions_are_lent_and_given_back(host: FakeHost, records: Path) -> None:
    gpu = Passthrough("41:00.0", records, host)
    gpu.take()
    assert drivers(host) == ["vfio-pci", "vfio-pci", "pcieport"]
    gpu.give_back()
    assert drivers(host) == ["nvidia", "snd_hda_intel", "pcieport"]
    assert [host.override(each) for each in (GPU, AUDIO)] == ["", ""]
    assert list(records.iterdir()) == []


def test_what_the_administrator_bound_stays_so(tmp_path: Path, records: Path) -> None:
    host = FakeHost.at(tmp_path / "host")
    host.add(GPU, driver="vfio-pci")
    gpu = Passthrough(GPU, records, host)
    gpu.take()
    gpu.give_back()
    assert host.driver(GPU) == "vfio-pci"
    assert host.written == []


def test_a_run_that_was_killed_is_undone_by_the_next(host: FakeHost, records: Path) -> None:
    killed = Passthrough(GPU, records, host)
    killed.take()
    killed._let_go()  # as the kernel does when a process ends
    assert drivers(host)[0] == "vfio-pci"
    after = Passthrough(GPU, records, host)
    after.take()
    after.give_back()
    assert drivers(host) == ["nvidia", "snd_hda_intel", "pcieport"]


def test_a_gpu_that_another_machine_has_stays_with_it(host: FakeHost, records: Path) -> None:
    first, second = Passthrough(GPU, records, host), Passthrough(GPU, records, host)
    first.take()
    done = list(host.written)
    with pytest.raises(PassthroughError, match="is lent to a machine that runs"):
        second.take()
    second.give_back()
    assert host.written == done
    assert drivers(host)[0] == "vfio-pci"
    first.give_back()
    second.take()
    second.give_back()
    assert drivers(host) == ["nvidia", "snd_hda_intel", "pcieport"]


@pytest.mark.parametrize("step", ["driver_override", "unbind", "drivers_probe"])
def test_a_step_that_fails_is_undone(host: FakeHost, records: Path, step: str) -> None:
    host.broken.add(step)
    with pytest.raises(PassthroughError, match="Input/output error"):
        Passthrough(GPU, records, host).take()
    host.broken.clear()
    Passthrough(GPU, records, host).give_back()
    assert drivers(host) == ["nvidia", "snd_hda_intel", "pcieport"]
    assert list(records.iterdir()) == []


def test_a_host_that_lacks_something_is_left_as_it_is(host: FakeHost, records: Path) -> None:
    host.add(NETWORK, driver="mlx5_core", kind="0x020000")
    (host.devices / "kvm").unlink()
    with pytest.raises(PassthroughError, match=r"(?s)/dev/kvm.*mlx5_core"):
        Passthrough(GPU, records, host).take()
    assert host.written == []
    assert not records.exists()


def test_a_driver_that_does_not_come_back_is_said_and_remembered(
    host: FakeHost, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.passthrough.BIND_DEADLINE_S", 0.0)
    gpu = Passthrough(GPU, records, host)
    gpu.take()
    host.native[GPU] = "nouveau"
    with pytest.raises(PassthroughError, match=r"(?s)not back with nvidia.*says what it was"):
        gpu.give_back()
    host.native[GPU] = "nvidia"
    gpu.give_back()
    assert drivers(host)[0] == "nvidia"


def test_a_device_that_was_taken_out_is_not_waited_for(host: FakeHost, records: Path) -> None:
    gpu = Passthrough(GPU, records, host)
    gpu.take()
    host.device(AUDIO).unlink()
    gpu.give_back()
    assert host.driver(GPU) == "nvidia"
    assert list(records.iterdir()) == []
