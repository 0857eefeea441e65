"""Records and downloads: the archive as the build sees it."""

import hashlib
from pathlib import Path

import pytest
from lib.debian import Archive, ArchiveError, parse_records
from lib.debian_lock import Entry

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
