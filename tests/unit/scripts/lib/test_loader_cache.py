"""The loader's cache, as ldconfig(8) reads it and in the order in which the loader searches it."""

import subprocess
from pathlib import Path

from lib import loader_cache
from lib.architecture import AARCH64, X86_64

PLACES = {
    "libz.so.1": "/usr/lib/libz.so.1",
    "libc.so.6": "/usr/lib/libc.so.6",
    "libssl.so.10": "/usr/lib/libssl.so.10",
    "libssl.so.9": "/usr/lib/libssl.so.9",
}


def test_ldconfig_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "ld.so.cache"
    path.write_bytes(loader_cache.cache(PLACES, X86_64))
    printed = subprocess.run(
        ["/sbin/ldconfig", "-p", "-C", str(path)], check=True, capture_output=True, text=True
    ).stdout
    listed = dict(line.strip().split(" => ") for line in printed.splitlines() if "=>" in line)
    assert listed == {f"{name} (libc6,x86-64)": place for name, place in PLACES.items()}


def test_libraries_of_another_processor_are_marked_as_such(tmp_path: Path) -> None:
    path = tmp_path / "ld.so.cache"
    path.write_bytes(loader_cache.cache({"libc.so.6": "/usr/lib/libc.so.6"}, AARCH64))
    command = ["/sbin/ldconfig", "-p", "-C", str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "libc.so.6 (libc6,AArch64)" in printed


def test_numbers_in_names_count_as_numbers_and_after_every_letter() -> None:
    ordered = sorted(PLACES, key=loader_cache.order)
    assert ordered == ["libc.so.6", "libssl.so.9", "libssl.so.10", "libz.so.1"]
    assert loader_cache.order("lib1.so") > loader_cache.order("liba.so")


def test_a_library_counts_under_its_own_name_and_the_first_directory_wins(tmp_path: Path) -> None:
    source = Path("/lib/x86_64-linux-gnu/libc.so.6").resolve().read_bytes()
    for name in ("first/libc.so.6", "first/other.so", "second/libc.so.6", "second/text.so"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"text" if name.endswith("text.so") else source)
    found = loader_cache.libraries(tmp_path, ["first", "second"])
    assert found == {"libc.so.6": "/first/libc.so.6"}
