"""Device nodes from what the modules publish: recorded trees in, nodes out."""

from __future__ import annotations

import pytest

from ainit.policy.device_nodes import Node, Tree, every, minor_of, of_instance

DEVICES = """Character devices:
  1 mem
195 nvidia
234 nvidia-nvswitch
235 nvidia-caps
511 nvidia-uvm

Block devices:
259 blkext
"""
INFORMATION = "Model: \t\t NVIDIA A100-SXM4-40GB\nDevice Minor: \t {minor}\nGPU Excluded:\t No\n"
CAPABILITY = "DeviceFileMinor: {minor}\nDeviceFileMode: {mode}\nDeviceFileModify: 1\n"
READ = 0o444


def capability(minor: int, mode: int = READ) -> str:
    return CAPABILITY.format(minor=minor, mode=mode)


def a100() -> Tree:
    """Two A100; the second has two GPU instances, of which one has two compute instances."""
    mig = "nvidia/capabilities/gpu1/mig"
    return Tree(
        DEVICES,
        {
            "nvidia/gpus/0000:41:00.0/information": INFORMATION.format(minor=0),
            "nvidia/gpus/0000:A1:00.0/information": INFORMATION.format(minor=1),
            "nvidia/capabilities/mig/config": capability(1, 0o400),
            "nvidia/capabilities/mig/monitor": capability(2),
            "nvidia/capabilities/fabric-imex-mgmt": capability(300, 0o400),
            f"{mig}/gi1/access": capability(138),
            f"{mig}/gi1/ci0/access": capability(139),
            f"{mig}/gi2/access": capability(147),
            f"{mig}/gi2/ci0/access": capability(148),
            f"{mig}/gi2/ci1/access": capability(149),
        },
    )


def h100_with_switches(devices: str = DEVICES) -> Tree:
    """Eight H100 and four NVSwitches, MIG off."""
    switches = [f"nvidia-nvswitch/devices/0000:0{bus}:00.0/information" for bus in range(5, 9)]
    return Tree(
        devices,
        {
            **{
                f"nvidia/gpus/0000:{16 * bus:02x}:00.0/information": INFORMATION.format(minor=bus)
                for bus in range(1, 9)
            },
            **dict.fromkeys(switches, "BIOS Version: 96.10.57.00.01\n"),
        },
    )


CONTROL, UVM = Node("nvidiactl", 195, 255, 0o666), Node("nvidia-uvm", 511, 0, 0o666)


def cap(minor: int, mode: int = READ) -> Node:
    return Node(f"nvidia-caps/nvidia-cap{minor}", 235, minor, mode)


def test_every_node_that_the_modules_want() -> None:
    assert set(every(a100())) == {
        CONTROL,
        UVM,
        Node("nvidia-uvm-tools", 511, 1, 0o666),
        Node("nvidia0", 195, 0, 0o666),
        Node("nvidia1", 195, 1, 0o666),
        Node("nvidia-nvswitchctl", 234, 255, 0o666),
        cap(1, 0o400), cap(2), cap(300, 0o400),
        cap(138), cap(139), cap(147), cap(148), cap(149),
    }  # fmt: skip


def test_nvswitches_have_nodes_of_their_own() -> None:
    nodes = every(h100_with_switches())
    assert [node for node in nodes if "nvswitch" in node.path] == [
        Node("nvidia-nvswitchctl", 234, 255, 0o666),
        *(Node(f"nvidia-nvswitch{minor}", 234, minor, 0o666) for minor in range(4)),
    ]
    assert sum(node.path.removeprefix("nvidia").isdigit() for node in nodes) == 8


def test_a_block_device_of_that_number_is_not_taken_for_it() -> None:
    tree = Tree("Character devices:\n  1 mem\n\nBlock devices:\n195 nvidia\n", a100().files)
    assert every(tree) == []


def test_the_major_has_had_another_name() -> None:
    tree = Tree(DEVICES.replace("195 nvidia\n", "195 nvidia-frontend\n"), a100().files)
    assert CONTROL in every(tree)


def test_without_a_module_nothing_is_wanted() -> None:
    assert every(Tree("", {})) == []


@pytest.mark.parametrize(
    ("instance", "compute", "caps"), [(1, 0, (138, 139)), (2, 0, (147, 148)), (2, 1, (147, 149))]
)
def test_exactly_the_nodes_of_one_instance(
    instance: int, compute: int, caps: tuple[int, int]
) -> None:
    """Neither the other GPU, nor another instance, nor what makes and watches instances."""
    assert of_instance(a100(), 1, instance, compute) == [
        CONTROL,
        UVM,
        Node("nvidia1", 195, 1, 0o666),
        *(cap(minor) for minor in caps),
    ]


@pytest.mark.parametrize(
    ("minor", "instance", "compute", "words"),
    [
        (7, 1, 0, "no GPU of minor number 7"),
        (1, 3, 0, "gpu1/mig/gi3/access"),
        (1, 1, 1, "gpu1/mig/gi1/ci1/access"),
        (0, 1, 0, "gpu0/mig/gi1/access"),
    ],
)
def test_an_instance_that_is_not_there_is_named(
    minor: int, instance: int, compute: int, words: str
) -> None:
    with pytest.raises(LookupError, match=words):
        of_instance(a100(), minor, instance, compute)


def test_without_the_capabilities_module_no_instance_can_be_used() -> None:
    tree = Tree(DEVICES.replace("235 nvidia-caps\n", ""), a100().files)
    with pytest.raises(LookupError):
        of_instance(tree, 1, 1)


@pytest.mark.parametrize("address", ["0000:a1:00.0", "00000000:A1:00.0"])
def test_a_gpu_is_found_by_its_address(address: str) -> None:
    assert minor_of(a100(), address) == 1


def test_an_address_without_a_gpu_is_named() -> None:
    with pytest.raises(LookupError, match=r"0000:b1:00\.0"):
        minor_of(a100(), "0000:b1:00.0")
