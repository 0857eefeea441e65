"""Which state partition a child opens first; and errands, which end in time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ainit.pid1 import errand, sealed


def ext4() -> bytes:
    """The begin of an ext4 file system: nothing, and then its magic number."""
    return bytes(1024 + 56) + b"\x53\xef" + bytes(8192)


@pytest.mark.parametrize(
    ("content", "concerns"),
    [
        (b"LUKS\xba\xbe\0\2" + bytes(8192), True),
        (bytes(8192), True),
        (ext4(), False),
        (b"LUKS" + bytes(8192), False),
        (b"something else".ljust(8192, b"\0"), False),
        (b"", False),
    ],
)
def test_a_volume_and_a_blank_partition_are_not_mounted_as_they_are(
    tmp_path: Path, content: bytes, *, concerns: bool
) -> None:
    device = tmp_path / "device"
    device.write_bytes(content)
    assert sealed.concerns(str(device)) is concerns


def test_one_that_is_not_there_is_for_mount_to_complain_of(tmp_path: Path) -> None:
    assert not sealed.concerns(str(tmp_path / "none"))


def run(code: str, seconds: float = 60.0) -> tuple[int, str]:
    return errand.run([sys.executable, "-I", "-S", "-c", code], {}, seconds)


def test_an_errand_says_what_it_says() -> None:
    assert run("print('one'); print('two')") == (0, "one\ntwo")


def test_its_failure_is_seen() -> None:
    status, said = run("import sys; print('why'); sys.exit(3)")
    assert (status, said) == (3 << 8, "why")


def test_one_that_does_not_end_is_ended() -> None:
    assert run("import signal; signal.pause()", 0.1) == (-1, "")


def test_one_that_does_not_die_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that waits for a disk which does not answer."""
    kept: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", lambda pid, signal: kept.append(pid))
        patched.setattr(errand, "_DYING_MS", 1.0)
        try:
            assert run("import time; time.sleep(60)", 0.1) == (-1, "")
        finally:
            patched.undo()
            os.kill(kept[0], 9)
            os.waitpid(kept[0], 0)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((0, "sealed for floor 2"), ""),
        ((256, "PCR 7 differs\na note"), "stays closed: PCR 7 differs; a note; `ainitctl seal`"),
        ((9, ""), "what was to open it died"),
        ((-1, ""), "was not opened in 300 s"),
    ],
)
def test_why_it_stays_closed_is_said(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str], why: str
) -> None:
    ran: list[list[str]] = []

    def instead(argv: list[str], environment: dict[str, str], seconds: float) -> tuple[int, str]:
        ran.append(argv)
        return answer

    monkeypatch.setattr(errand, "run", instead)
    said = sealed.unlock("/dev/vda6")
    assert ran[0][-3:] == ["ainit.seal", "unlock", "/dev/vda6"]
    assert why in said
    assert bool(why) == bool(said)
