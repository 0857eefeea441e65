"""One start after each kind of end: what is kept, and what is let go."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from ainit.crash import collect, marker
from ainit.crash.archive import CONSOLE, LOG, Archive
from ainit.crash.collect import ENDED_WITHOUT_SHUTDOWN, Collector, Found, Paths
from ainit.crash.marker import Marker

T = 1700000000.0
LAST = "11111111-0000-4000-8000-000000000000"
THIS = "22222222-0000-4000-8000-000000000000"
PANIC = "[ 42.0] Kernel panic - not syncing: sysrq triggered crash\n"


@dataclass(frozen=True)
class Machine:
    """The places that a collection looks at."""

    folder: Path

    @property
    def paths(self) -> Paths:
        places = ("crash", "log", "pstore", "bootstatus")
        return Paths(*(str(self.folder / name) for name in places))

    @property
    def archive(self) -> Archive:
        return Archive(self.paths.archive)

    def mark(self, boot_id: str = LAST, time: float = T) -> None:
        """A boot begins."""
        os.makedirs(self.paths.archive, exist_ok=True)
        marker.write(self.paths.marker, Marker(boot_id, time, "6.12.1-ainos"))

    def dump(self, text: str = PANIC, *, at: float = T + 60, count: int = 1) -> Path:
        """The kernel writes a dump."""
        return self.write(
            f"pstore/dmesg-efi_pstore-{(int(at) * 100 + 1) * 1000 + count}",
            f"Panic#{count} Part1\n{text}",
            at,
        )

    def write(self, name: str, text: str, at: float = T + 30) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (at, at))
        return path

    def log(self, unit: str, text: str, *, boot_id: str = LAST, at: float = T + 30) -> None:
        """A unit writes a line, and the log service notes it."""
        mark = json.dumps({"boot": boot_id, "cursor": 1})
        line = json.dumps({"time": 4.5, "text": text, "priority": 6})
        self.write(f"log/{unit}.jsonl", f"{line}\n{mark}\n", at)

    def collect(self, boot_id: str = THIS) -> Found:
        return Collector(self.paths).collect(boot_id, T + 100)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_first_boot_finds_nothing_and_leaves_its_mark(machine: Machine) -> None:
    found = machine.collect()
    assert (found.problem, found.kept, found.loose) == ("", [], {})
    assert marker.read(machine.paths.marker) == Marker(THIS, T + 100, os.uname().release)


def test_a_panic_is_kept_and_then_let_go(machine: Machine) -> None:
    machine.mark()
    path = machine.dump()
    machine.log("speech", "last words")
    (crash,) = machine.collect().kept
    assert (crash.kind, crash.boot_id, crash.time) == ("panic", LAST, T + 60)
    assert crash.cause == "Kernel panic - not syncing: sysrq triggered crash"
    assert crash.kernel == "6.12.1-ainos"
    assert crash.id == "20231114T221420Z-11111111"
    assert not path.exists()
    assert machine.archive.list() == [crash]
    assert machine.archive.read(crash.id, CONSOLE, 1000).decode() == PANIC
    assert machine.archive.read(crash.id, LOG, 1000) == b"[    4.500000] speech: last words\n"


def test_a_power_cut_ended_without_shutdown(machine: Machine) -> None:
    machine.mark()
    machine.log("speech", "last words", at=T + 77)
    machine.log("gpu", "of another boot", boot_id="33333333")
    (crash,) = machine.collect().kept
    assert (crash.kind, crash.cause, crash.time) == ("unclean", ENDED_WITHOUT_SHUTDOWN, T + 77)
    assert machine.archive.read(crash.id, LOG, 99) == b"[    4.500000] speech: last words\n"


def test_a_reset_by_the_watchdog_is_told_from_a_power_cut(machine: Machine) -> None:
    machine.mark()
    machine.write("bootstatus", "32\n")
    (crash,) = machine.collect().kept
    assert crash.kind == "watchdog"
    assert "the watchdog reset the machine" in crash.cause


@pytest.mark.parametrize("text", ["0\n", "", "x", "64\n"])
def test_another_boot_status_is_no_watchdog(machine: Machine, text: str) -> None:
    machine.mark()
    machine.write("bootstatus", text)
    (crash,) = machine.collect().kept
    assert crash.kind == "unclean"


def test_a_hang_that_became_a_panic(machine: Machine) -> None:
    machine.mark()
    machine.dump("[ 90.0] Kernel panic - not syncing: watchdog pretimeout event\n")
    assert [crash.kind for crash in machine.collect().kept] == ["watchdog"]


def test_a_panic_before_the_mark_belongs_to_no_known_boot(machine: Machine) -> None:
    machine.dump()
    (crash,) = machine.collect().kept
    assert (crash.kind, crash.boot_id) == ("panic", "")
    assert crash.id.endswith("-00000000")


def test_an_old_dump_is_not_of_the_marked_boot(machine: Machine) -> None:
    machine.dump(at=T - 10 * 86400)
    machine.mark()
    kept = machine.collect().kept
    assert [(crash.kind, crash.boot_id) for crash in kept] == [("panic", ""), ("unclean", LAST)]


def test_a_start_again_in_the_same_boot_finds_nothing(machine: Machine) -> None:
    machine.mark(THIS)
    assert machine.collect().kept == []


def test_an_orderly_end_leaves_nothing_to_find(machine: Machine) -> None:
    machine.collect(LAST)
    marker.remove(machine.paths.marker)
    assert machine.collect(THIS).kept == []


def test_a_start_that_was_cut_off_does_not_tell_twice(machine: Machine) -> None:
    machine.mark()
    machine.dump()
    machine.collect()
    machine.mark()  # as if the power went before the mark was set anew
    machine.dump()  # and before the firmware's memory was freed
    assert machine.collect().kept == []
    assert len(machine.archive.list()) == 1
    assert os.listdir(machine.paths.pstore) == []


def test_a_silent_end_is_not_told_twice_either(machine: Machine) -> None:
    machine.mark()
    assert len(machine.collect().kept) == 1
    machine.mark()
    assert machine.collect().kept == []


def test_a_second_panic_is_another_crash(machine: Machine) -> None:
    machine.mark()
    machine.dump()
    machine.collect("33333333-0000")
    machine.dump(at=T + 500)
    machine.collect(THIS)
    assert len(machine.archive.list()) == 2


def test_a_console_in_reserved_memory_is_evidence_of_an_unclean_end(machine: Machine) -> None:
    machine.mark()
    path = machine.write("pstore/console-ramoops-0", "[ 1.0] the last line\n")
    (crash,) = machine.collect().kept
    assert crash.kind == "unclean"
    assert machine.archive.read(crash.id, CONSOLE, 99) == b"[ 1.0] the last line\n"
    assert not path.exists()


def test_a_console_after_an_orderly_end_is_no_crash(machine: Machine) -> None:
    path = machine.write("pstore/console-ramoops-0", "[ 1.0] the last line\n")
    assert machine.collect().kept == []
    assert not path.exists()


def test_what_cannot_be_read_is_kept_as_it_is(machine: Machine) -> None:
    path = machine.folder / "pstore/mce-erst-7"
    path.parent.mkdir()
    path.write_bytes(b"\x00\xff\x1b")
    (crash,) = machine.collect().kept
    assert machine.archive.read(crash.id, "raw-mce-erst-7", 99) == b"\x00\xff\x1b"
    assert "without a cause" in crash.cause


def test_without_a_state_partition_the_evidence_stays(machine: Machine) -> None:
    path = machine.dump()
    (machine.folder / "crash").write_text("a file where the directory should be")
    found = machine.collect()
    assert found.problem == "File exists"
    ((crash, contents),) = found.loose.values()
    assert crash.kind == "panic"
    assert contents[CONSOLE].decode() == PANIC
    assert path.exists()


def test_a_full_disk_is_a_problem_and_the_evidence_stays(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.mark()
    path = machine.dump()

    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        found = machine.collect()
    assert found.problem == "No space left on device"
    assert len(found.loose) == 1
    assert path.exists()
    assert [crash.kind for crash in machine.collect().kept] == ["panic"]


def test_evidence_is_freed_only_once_it_is_kept(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.mark()
    path = machine.dump()
    order: list[str] = []
    real_unlink, real_fsync = os.unlink, os.fsync

    def fsync(descriptor: int) -> None:
        order.append("sync")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    def unlink(target: str) -> None:
        if target == str(path):
            order.append("free")
            assert machine.archive.list()
        real_unlink(target)

    monkeypatch.setattr(os, "unlink", unlink)
    machine.collect()
    assert "sync" in order[: order.index("free")]


def test_reading_is_bounded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "FILES", 3)
    monkeypatch.setattr(collect, "FILE_BYTES", 10)
    for number in range(9):
        machine.write(f"pstore/x-{number}", "0123456789abcdef")
    assert [file.data for file in collect.read_files(machine.paths.pstore)] == [b"6789abcdef"] * 3
