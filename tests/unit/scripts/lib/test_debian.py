"""Lock files, package lists and downloads: the archive as the build sees it."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from lib.debian import (
    Archive,
    ArchiveError,
    Entry,
    LockError,
    parse_list,
    parse_lock,
    parse_records,
)

CONTENT = b"what the package holds"
ENTRY = Entry(
    "root",
    "libexample1",
    "1:2.0-3",
    "amd64",
    "pool/main/e/example/libexample1_2.0-3_amd64.deb",
    len(CONTENT),
    hashlib.sha256(CONTENT).hexdigest(),
)


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    lock = tmp_path / "debian.lock"
    other = Entry("boot", "a", "1", "all", "pool/main/a/a_1_all.deb", 1, "0" * 64)
    Archive.lock_write([ENTRY, other, ENTRY], lock)
    assert Archive.lock_read(lock) == [other, ENTRY]
    assert Archive.lock_read(lock, group="root") == [ENTRY]


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
        Archive.lock_read(tmp_path / "none")


def test_a_package_list_knows_single_packages_closures_and_exclusions() -> None:
    wanted = parse_list("# why\nlibc6   # the C library\n+erofs-utils\n-perl-base\n", "x.txt")
    assert (wanted.single, wanted.closure) == (("libc6",), ("erofs-utils",))
    assert wanted.excluded == {"perl-base"}
    with pytest.raises(LockError, match=r"^x\.txt:2: 'two words'"):
        parse_list("libc6\ntwo words\n", "x.txt")


def test_records_of_apt_become_entries() -> None:
    shown = "\n".join(
        [
            "Package: libexample1",
            "Version: 1:2.0-3",
            "Architecture: amd64",
            "Description: one",
            " Filename: not this one",
            f"Filename: ./{ENTRY.filename}",
            f"Size: {ENTRY.size}",
            f"SHA256: {ENTRY.sha256}",
            "",
            "",
        ]
    )
    assert parse_records(shown, "root") == [ENTRY]


class Pool:
    """A Debian mirror in a directory, which apt's own downloader reads by ``file:`` address."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        monkeypatch.setenv("DEBIAN_MIRROR", root.as_uri())

    def put(self, content: bytes) -> None:
        """Publish the example package with some content."""
        path = self.root / ENTRY.filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    return Pool(tmp_path / "mirror", monkeypatch)


def test_a_download_is_cached_and_checked_again(tmp_path: Path, pool: Pool) -> None:
    pool.put(CONTENT)
    archive = Archive(tmp_path / "cache")
    (path,) = archive.download([ENTRY])
    assert path.read_bytes() == CONTENT
    (pool.root / ENTRY.filename).unlink()
    assert archive.download([ENTRY]) == [path]
    path.write_bytes(b"altered in the cache")
    with pytest.raises(ArchiveError):
        archive.download([ENTRY])


def test_a_file_with_other_content_is_refused(tmp_path: Path, pool: Pool) -> None:
    pool.put(CONTENT.replace(b"package", b"PACKAGE"))
    archive = Archive(tmp_path / "cache")
    with pytest.raises(ArchiveError, match=r"could not download libexample1 1:2\.0-3"):
        archive.download([ENTRY])
    assert not (tmp_path / "cache" / "debian" / ENTRY.basename).exists()


def test_a_version_that_is_gone_says_so(tmp_path: Path, pool: Pool) -> None:
    pool.root.mkdir()
    with pytest.raises(ArchiveError, match="the archive has moved on: run make relock"):
        Archive(tmp_path / "cache").download([ENTRY])
