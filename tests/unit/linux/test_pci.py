from __future__ import annotations

from pathlib import Path

from ainit.linux import pci


def test_an_attribute_of_a_device(tmp_path: Path) -> None:
    device = tmp_path / "0000:3b:00.0"
    device.mkdir()
    (device / "numa_node").write_text("1\n")
    assert pci.attribute("0000:3b:00.0", "numa_node", str(tmp_path)) == "1\n"
    assert pci.attribute("0000:3b:00.0", "local_cpulist", str(tmp_path)) is None
    assert pci.attribute("0000:ff:00.0", "numa_node", str(tmp_path)) is None
