"""The foreign initrd really is one: its program runs, its archive unpacks."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lib import initrd


def test_the_program_says_it_ran_and_then_waits(tmp_path: Path) -> None:
    path = tmp_path / "init"
    path.write_bytes(initrd.program(b"it ran\n"))
    path.chmod(0o755)
    process = subprocess.Popen([path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"it ran\n"
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_archive_holds_console_and_init() -> None:
    listed = subprocess.run(
        ["cpio", "--list", "--verbose", "--numeric-uid-gid", "--quiet"],
        input=initrd.build("x"),
        capture_output=True,
        check=True,
    ).stdout.decode()
    entries = [(line.split()[0], line.split()[-1]) for line in listed.splitlines()]
    assert entries == [("drwxr-xr-x", "dev"), ("crw-------", "dev/console"), ("-rwxr-xr-x", "init")]
    assert " 5,   1 " in listed
