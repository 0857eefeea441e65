"""Lock files and package lists: what is read, and what is refused with file and line."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from lib import debian_lock
from lib.architecture import AARCH64
from lib.debian_lock import Entry, LockError, parse_list, parse_lock

ENTRY = Entry(
    "root",
    "libexample1",
    "1:2.0-3",
    "amd64",
    "pool/main/e/example/libexample1_2.0-3_amd64.deb",
    22,
    "0123456789abcdef" * 4,
)


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    lock = tmp_path / "debian.lock"
    other = Entry("boot", "a", "1", "all", "pool/main/a/a_1_all.deb", 1, "0" * 64)
    debian_lock.write([ENTRY, other, ENTRY], lock)
    assert debian_lock.read(lock) == [other, ENTRY]
    assert debian_lock.read(lock, group="root") == [ENTRY]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": "12"}, "size is not int"),
        ({"size": True}, "size is not int"),
        ({"sha256": "12"}, "sha256 is not 64"),
        ({"filename": "/etc/passwd"}, "below pool/"),
        ({"filename": "pool/../../etc/passwd"}, "below pool/"),
        ({"extra": 1}, "exactly the keys"),
    ],
)
def test_a_bad_lock_entry_is_named_with_its_line(change: dict[str, object], reason: str) -> None:
    good = json.dumps(asdict(ENTRY))
    bad = json.dumps({**asdict(ENTRY), **change})
    with pytest.raises(LockError, match=rf"^x\.lock:2: .*{reason}"):
        parse_lock(f"{good}\n{bad}\n", "x.lock")


def test_a_lock_line_that_is_not_json_is_named() -> None:
    with pytest.raises(LockError, match=r"^x\.lock:1: not JSON"):
        parse_lock("{\n", "x.lock")


def test_a_missing_lock_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="make relock"):
        debian_lock.read(tmp_path / "none")


def test_a_package_list_knows_single_packages_closures_and_exclusions() -> None:
    wanted = parse_list("# why\nlibc6   # the C library\n+erofs-utils\n-perl-base\n", "x.txt")
    assert (wanted.single, wanted.closure) == (("libc6",), ("erofs-utils",))
    assert wanted.excluded == {"perl-base"}
    with pytest.raises(LockError, match=r"^x\.txt:2: 'two words'"):
        parse_list("libc6\ntwo words\n", "x.txt")


def test_a_package_may_be_for_one_architecture() -> None:
    text = "libc6\n+libtss2-fapi1t64 [arm64]   # why\n"
    assert parse_list(text, "x.txt").closure == ()
    assert parse_list(text, "x.txt", AARCH64).closure == ("libtss2-fapi1t64",)
