"""Images are written to files, by the code that writes to disks, with faults at every step."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from lib import flash
from lib.flash import Image
from lib.flash_disks import of_file
from lib.flash_target import CHUNK, Target, opened
from lib.host import HostError

from ainit.linux import gpt
from tests.support import disk_image
from tests.support.disk_image import END, MIB, UUIDS

DISK_SIZE = 48 * MIB + 512  # no multiple of anything but sectors
OLD = 0xA5


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image.read(disk_image.make(tmp_path_factory.mktemp("image")))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A disk that another AINOS was started from, with old data wherever that has nothing."""
    table = Image.read(disk_image.make(tmp_path_factory.mktemp("old"), seed=2)).table
    placed = table.place(DISK_SIZE, ())
    fill = bytes([OLD]) * (DISK_SIZE - MIB - len(placed.second))
    return placed.first + fill + placed.second


@pytest.fixture
def disk(tmp_path: Path, old: bytes) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(old)
    return path


def put(image: Image, disk: Path, kind: type[Target] = Target) -> None:
    with opened(disk, is_file=True, kind=kind) as target:
        flash.write(target, image, image.table.place(target.size, image.kept))


def partitions(disk: Path) -> list[gpt.Entry]:
    """What a kernel or a firmware finds, by whichever copy of the table."""
    return gpt.read_disk(str(disk), 512)


def body(path: Path) -> bytes:
    return path.read_bytes()[MIB:END]


def test_the_disk_holds_the_image_and_its_own_table(image: Image, disk: Path) -> None:
    put(image, disk)
    assert body(disk) == body(image.disk)
    assert [entry.name for entry in partitions(disk)] == list(disk_image.SIZES)
    said = subprocess.run(["sgdisk", "--verify", disk], capture_output=True, text=True, check=True)
    assert "No problems found" in said.stdout


def test_nothing_old_shines_through_the_holes(image: Image, disk: Path) -> None:
    put(image, disk)
    state = disk_image.start_of("state")
    assert disk.read_bytes()[state : state + 6 * MIB] == bytes(6 * MIB)
    assert not any(disk.read_bytes()[34 * 512 : MIB])


def test_holes_stay_holes(image: Image, disk: Path) -> None:
    put(image, disk)
    with disk.open("rb") as file:
        assert os.lseek(file.fileno(), disk_image.start_of("root_b") + 5 * MIB, os.SEEK_HOLE) < END


class PowerCutError(Exception):
    """The power fails."""


class Step(NamedTuple):
    offset: int
    data: bytes


@pytest.mark.parametrize("tear", [False, True], ids=["between", "within"])
def test_a_power_cut_leaves_the_whole_image_or_no_table(
    image: Image, disk: Path, tmp_path: Path, *, tear: bool
) -> None:
    """Everything that was written, up to any point: a table only where all of the image is."""
    steps: list[Step] = []

    class Recorder(Target):
        def _pwrite(self, view: memoryview, offset: int) -> int:
            steps.append(Step(offset, bytes(view)))
            return super()._pwrite(view, offset)

        def _zero(self, offset: int, length: int) -> None:
            steps.append(Step(offset, bytes(length)))
            super()._zero(offset, length)

    cut = tmp_path / "cut"
    cut.write_bytes(disk.read_bytes())
    assert len(partitions(cut)) == len(UUIDS)
    seen, before, new = [], body(cut), body(image.disk)
    put(image, disk, Recorder)
    with cut.open("r+b", buffering=0) as file:
        for step in steps:
            if tear:
                os.pwrite(file.fileno(), step.data[: len(step.data) // 1024 * 512], step.offset)
            if partitions(cut):
                seen.append(body(cut) in (before, new))
            os.pwrite(file.fileno(), step.data, step.offset)
    assert partitions(cut)
    assert len(steps) > 8
    assert all(seen)


def test_what_is_discarded_is_neither_of_the_tables(image: Image, disk: Path) -> None:
    """A disk may go on reading what was discarded: an old table would be back."""
    ranges = []

    class Ssd(Target):
        def discard(self, offset: int, length: int) -> None:
            ranges.append((offset, offset + length))

    with opened(disk, is_file=True, kind=Ssd) as target:
        flash.write(target, image, image.table.place(target.size, image.kept), discard=True)
    assert ranges == [(MIB, DISK_SIZE - MIB)]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a terminal's program has it; what is begun in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_signal_in_the_middle(
    image: Image, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(Target):
        def _pwrite(self, view: memoryview, offset: int) -> int:
            if disk_image.start_of("root_a") < offset < END:
                signal.raise_signal(signal.SIGINT)
            return super()._pwrite(view, offset)

    with pytest.raises(KeyboardInterrupt):
        put(image, disk, Interrupted)
    assert partitions(disk) == []
    assert "has no partition table now, and nothing starts from it" in capsys.readouterr().err
    put(image, disk)
    assert body(disk) == body(image.disk)


def test_short_writes_and_reads_go_on_where_they_ended(image: Image, disk: Path) -> None:
    class Short(Target):
        def _pwrite(self, view: memoryview, offset: int) -> int:
            return super()._pwrite(view[: max(512, len(view) // 1024 * 512)], offset)

        def _pread(self, view: memoryview, offset: int) -> int:
            return super()._pread(view[: max(512, len(view) // 1024 * 512)], offset)

    put(image, disk, Short)
    assert body(disk) == body(image.disk)


BAD = MIB + CHUNK  # where the second piece begins


@pytest.mark.parametrize(
    ("call", "result", "reason"),
    [
        ("_pwrite", OSError(errno.EIO, "Input/output error"), "writing .* Input/output error"),
        ("_pwrite", 0, "writing .* nothing more is taken"),
        ("_pread", OSError(errno.EIO, "Input/output error"), "reading .* Input/output error"),
        ("_pread", 0, "reading .* the disk ends here"),
    ],
)
def test_a_disk_that_fails(
    image: Image, disk: Path, call: str, result: OSError | int, reason: str
) -> None:
    genuine: Callable[[Target, memoryview, int], int] = getattr(Target, call)

    def fails(self: Target, view: memoryview, offset: int) -> int:
        if offset != BAD:
            return genuine(self, view, offset)
        if isinstance(result, OSError):
            raise result
        return result

    with pytest.raises(HostError, match=reason) as caught:
        put(image, disk, type("Failing", (Target,), {call: fails}))
    assert f"at byte {BAD}" in str(caught.value)
    assert partitions(disk) == []


@pytest.mark.parametrize(
    ("at", "where"),
    [(BAD + 4711, "data"), (END - 1, "a hole"), (600, "the table")],
)
def test_a_disk_that_reads_back_something_else(
    image: Image, disk: Path, at: int, where: str
) -> None:
    class Liar(Target):
        def _pread(self, view: memoryview, offset: int) -> int:
            taken = super()._pread(view, offset)
            if offset <= at < offset + taken:
                view[at - offset] ^= 0xFF
            return taken

    with pytest.raises(HostError, match=f"reads back other .* first at byte {at}: 0x"):
        put(image, disk, Liar)
    assert bool(partitions(disk)) is (where == "the table")


@pytest.mark.parametrize("capacity", [12 * MIB, END + MIB], ids=["image", "only the tail"])
@pytest.mark.parametrize("wraps", [True, False])
def test_a_stick_that_is_smaller_than_it_says(
    image: Image, disk: Path, capacity: int, *, wraps: bool
) -> None:
    """Fakes wrap around, or forget what is beyond their true size."""

    class Fake(Target):
        def _pwrite(self, view: memoryview, offset: int) -> int:
            if offset >= capacity and not wraps:
                return len(view)
            return super()._pwrite(view, offset % capacity)

        def _pread(self, view: memoryview, offset: int) -> int:
            if offset >= capacity and not wraps:
                view[:] = bytes(len(view))
                return len(view)
            return super()._pread(view, offset % capacity)

    with pytest.raises(HostError, match="or smaller than it says"):
        put(image, disk, Fake)
    assert partitions(disk) == []


def test_an_image_that_changes_meanwhile(tmp_path: Path, disk: Path) -> None:
    mine = Image.read(disk_image.make(tmp_path / "mine"))
    counter = itertools.count()

    class Slow(Target):
        def _pwrite(self, view: memoryview, offset: int) -> int:
            if next(counter) == 0:
                with mine.disk.open("r+b") as file:
                    file.seek(disk_image.start_of("root_a") + MIB)
                    file.write(b"another build")
            return super()._pwrite(view, offset)

    with pytest.raises(HostError, match="changed while it was written"):
        put(mine, disk, Slow)
    assert partitions(disk) == []


def test_a_root_that_is_not_the_manifests_is_never_written(tmp_path: Path, disk: Path) -> None:
    folder = disk_image.make(tmp_path / "mine")
    with (folder / "ainos.img").open("r+b") as file:
        file.seek(disk_image.start_of("root_a") + 5 * MIB)
        file.write(b"x")
    before = disk.read_bytes()
    with pytest.raises(HostError, match=r"does not hold the root.erofs of manifest.json"):
        put(Image.read(folder), disk)
    assert disk.read_bytes() == before


def test_a_manifest_of_another_image(tmp_path: Path) -> None:
    folder = disk_image.make(tmp_path / "mine")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["root"]["partuuid"]["root"] = UUIDS["state"].replace("6", "9")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(HostError, match=r"is not of this manifest.json: no partition 9999"):
        Image.read(folder)


def test_an_image_that_is_cut_off(tmp_path: Path) -> None:
    folder = disk_image.make(tmp_path / "mine")
    os.truncate(folder / "ainos.img", END - 1)
    with pytest.raises(HostError, match="shorter than its partitions"):
        Image.read(folder)
    with pytest.raises(HostError, match="`make image` builds one"):
        Image.read(tmp_path)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(HostError, match=r"manifest.json cannot be read: .*line 1"):
        Image.read(folder)


HOLD = """
import fcntl, signal, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_SH)
print("held", flush=True)
signal.pause()
"""


def test_a_file_that_a_machine_uses_is_refused(image: Image, disk: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(disk)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        try:
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(HostError, match="is in use"), opened(disk, is_file=True):
                pass
        finally:
            holder.kill()


def test_files_that_are_no_disk(image: Image, disk: Path, tmp_path: Path) -> None:
    assert of_file(disk, image.disk).size == DISK_SIZE
    with pytest.raises(HostError, match="truncate --size 8G"):
        of_file(tmp_path / "none", image.disk)
    with pytest.raises(HostError, match="is the image itself"):
        of_file(image.disk, image.disk)
    with pytest.raises(HostError, match="is no file"):
        of_file(tmp_path, image.disk)
