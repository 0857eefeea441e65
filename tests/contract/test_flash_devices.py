"""``scripts/flash`` as people call it, on loop devices: block devices of the kernel, like disks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from lib.host import REPOSITORY

from ainit.linux import gpt
from tests.support import disk_image
from tests.support.disk_image import END, MIB

if not os.access("/dev/loop-control", os.W_OK):
    pytest.skip("this host has no loop devices", allow_module_level=True)

SIZE = 48 * MIB
DEADLINE_S = 120


def call(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk_image.make(tmp_path_factory.mktemp("image"))


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    """What undoes what a test did to the host, in the opposite order."""
    with ExitStack() as stack:
        yield stack


Attach = Callable[..., str]


@pytest.fixture
def attach(tmp_path: Path, undo: ExitStack) -> Attach:
    """Make a disk full of old data, and return its device."""

    def make(name: str, *options: str, size: int = SIZE) -> str:
        path = tmp_path / name
        path.write_bytes(b"\xa5" * size)
        device = call("losetup", "--find", "--show", "--partscan", *options, str(path))
        undo.callback(call, "losetup", "--detach", device)
        return device

    return make


def flash(image: Path, target: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(REPOSITORY / "scripts/flash"), "--image", str(image), "--target", target]
    return subprocess.run(
        [*command, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


def test_a_disk_gets_the_image(image: Path, attach: Attach, tmp_path: Path) -> None:
    device = attach("stick")
    done = flash(image, device, "--yes", "stick")
    assert done.returncode == 0, done.stderr
    for name in ("image", "old tables", "discard", "zeros", "data", "read back", "partition table"):
        assert re.search(rf"^✓ {name} ", done.stderr, re.MULTILINE), done.stderr
    assert re.search(r"^✓ read back .* 29 MiB, \d+ MiB/s$", done.stderr, re.MULTILINE)
    assert "tty0, ttyS0,115200" in done.stdout
    held = (tmp_path / "stick").read_bytes()
    assert held[MIB:END] == (image / "ainos.img").read_bytes()[MIB:END]
    assert [entry.name for entry in gpt.read_disk(device, 512)] == list(disk_image.SIZES)
    said = call("sgdisk", "--verify", device)
    assert "No problems found" in said


def test_nobody_reads_what_memory_held_of_the_disk(
    image: Path, attach: Attach, tmp_path: Path
) -> None:
    """The kernel's memory of the device does not stand in for it."""
    device = attach("stick")
    with open(device, "rb", buffering=0) as file:
        assert file.read(4096) == b"\xa5" * 4096
        assert flash(image, device, "--yes", "stick").returncode == 0
        file.seek(512)
        assert file.read(8) == b"EFI PART"


STATE = disk_image.start_of("state")


@pytest.fixture(scope="module")
def with_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image whose state is a file system, as that of real ones is."""
    folder = disk_image.make(tmp_path_factory.mktemp("with-state"))
    state = folder / "state"
    (folder / "tree/config").mkdir(parents=True)
    state.touch()
    options = ["-q", "-t", "ext4", "-O", "^has_journal", "-d", str(folder / "tree")]
    call("mke2fs", *options, str(state), "6M")
    with (folder / "ainos.img").open("r+b") as file:
        file.seek(STATE)
        file.write(state.read_bytes())
    return folder


def test_a_configuration_goes_onto_the_state_partition(
    with_state: Path, attach: Attach, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text('[machine]\nhostname = "node1"\n', encoding="utf-8")
    device = attach("stick")
    done = flash(with_state, device, "--yes", "stick", "--config", str(config))
    assert done.returncode == 0, done.stderr
    read = call("debugfs", "-R", "cat /config/machine.toml", f"{device}?offset={STATE}")
    assert read + "\n" == config.read_text()
    held = (tmp_path / "stick").read_bytes()
    assert held[MIB:STATE] == (with_state / "ainos.img").read_bytes()[MIB:STATE]
    (tmp_path / "state").write_bytes(held[STATE:END])
    call("e2fsck", "-fn", str(tmp_path / "state"))


def test_a_wrong_configuration_is_refused_before_anything_is_written(
    with_state: Path, attach: Attach, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text("[machine]\nhostname = 3\n", encoding="utf-8")
    options = ("--yes", "stick", "--config", str(config))
    assert f"{config}:2: hostname is a host name" in refused(
        flash(with_state, attach("stick"), *options)
    )
    assert unchanged(tmp_path)


def test_a_state_that_is_made_later_takes_no_configuration(
    image: Path, attach: Attach, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    options = ("--yes", "stick", "--config", str(config))
    config.write_text('[machine]\nhostname = "node1"\n', encoding="utf-8")
    assert "is made at the first boot" in refused(flash(image, attach("stick"), *options))
    assert unchanged(tmp_path)


INTERRUPTED = """
import os, runpy, signal, sys
# What is begun in the background ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
script = sys.argv[1]
sys.path[:0] = [os.path.dirname(script), os.path.dirname(os.path.dirname(script))]
from lib.flash_target import Target
write = Target.write
def interrupted(self, offset, data):
    if 8 << 20 < offset < 16 << 20:
        os.kill(os.getpid(), signal.%s)
    write(self, offset, data)
Target.write = interrupted
sys.argv = sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_the_image_is_written(
    image: Path, attach: Attach, name: str, status: int
) -> None:
    device = attach("stick")
    assert flash(image, device, "--yes", "stick").returncode == 0
    assert len(gpt.read_disk(device, 512)) == 6
    script = [sys.executable, "-c", INTERRUPTED % name, str(REPOSITORY / "scripts/flash")]
    options = ["--image", str(image), "--target", device, "--yes", "stick"]
    done = subprocess.run(
        [*script, *options], capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert done.returncode == status, done.stderr
    assert "✗ data" in done.stderr
    assert f"{device} has no partition table now, and nothing starts from it" in done.stderr
    assert gpt.read_disk(device, 512) == []


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    _, _, reason = done.stderr.rpartition("flash: ")
    assert reason
    return reason


def unchanged(tmp_path: Path, name: str = "stick") -> bool:
    return (tmp_path / name).read_bytes()[: 2 * MIB] == b"\xa5" * 2 * MIB


def test_confirmation(image: Path, attach: Attach, tmp_path: Path) -> None:
    device = attach("stick")
    assert "say --yes 'stick'" in refused(flash(image, device))
    assert "'y' is not the model of loop" in refused(flash(image, device, "--yes", "y"))
    assert unchanged(tmp_path)


def test_a_disk_that_another_process_holds(image: Path, attach: Attach, tmp_path: Path) -> None:
    device = attach("stick")
    held = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        said = refused(flash(image, device, "--yes", "stick"))
    finally:
        os.close(held)
    assert f"{device} cannot be written: another program holds it; `fuser -v {device}`" in said
    assert unchanged(tmp_path)


def test_a_read_only_disk(image: Path, attach: Attach) -> None:
    assert "is read-only" in refused(flash(image, attach("stick", "--read-only"), "--yes", "x"))


def test_a_small_disk(image: Path, attach: Attach) -> None:
    device = attach("stick", size=20 * MIB)
    assert "take a larger disk" in refused(flash(image, device, "--yes", "stick"))


def test_a_disk_with_larger_sectors(image: Path, attach: Attach) -> None:
    device = attach("stick", "--sector-size", "4096")
    assert "sectors of 4096 bytes" in refused(flash(image, device, "--yes", "stick"))


def test_a_mounted_partition_and_a_partition(
    image: Path, attach: Attach, tmp_path: Path, undo: ExitStack
) -> None:
    device = attach("stick")
    assert flash(image, device, "--yes", "stick").returncode == 0
    call("partx", "--update", device)  # for hosts whose kernel knows no GPT
    state = f"{device}p6"
    assert "is a partition of loop" in refused(flash(image, state, "--yes", "stick"))
    call("mkfs.ext4", "-q", state)
    point = tmp_path / "mnt"
    point.mkdir()
    call("mount", state, str(point))
    undo.callback(call, "umount", str(point))
    said = refused(flash(image, device, "--yes", "stick"))
    assert f"{Path(state).name} is mounted on {point}: umount {point}" in said


def test_two_disks_with_the_same_image(image: Path, attach: Attach, tmp_path: Path) -> None:
    first, second = attach("first"), attach("second")
    assert flash(image, first, "--yes", "first").returncode == 0
    assert flash(image, first, "--yes", "first").returncode == 0
    said = refused(flash(image, second, "--yes", "second"))
    name = Path(first).name
    assert f"on another disk, too: {name} (root_a, verity_a). A machine" in said
    assert unchanged(tmp_path, "second")
    done = flash(image, second, "--yes", "second", "--same-disk-ids")
    assert done.returncode == 0, done.stderr
    assert "warning: this image is on another disk, too" in done.stderr


def test_the_disk_of_a_virtual_machine(image: Path, tmp_path: Path) -> None:
    path = tmp_path / "vm.img"
    path.touch()
    os.truncate(path, SIZE)
    assert "is no block device; for a virtual machine's disk, say --file" in refused(
        flash(image, str(path), "--yes", "0.1 GB")
    )
    done = flash(image, str(path), "--file", "--yes", "0.1 GB")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes()[MIB:END] == (image / "ainos.img").read_bytes()[MIB:END]
    assert path.stat().st_blocks * 512 < 20 * MIB
