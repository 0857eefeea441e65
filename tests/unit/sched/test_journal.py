from __future__ import annotations

from pathlib import Path

import pytest

from ainit.errors import ConfigError
from ainit.sched.journal import Assignment, Change, Journal, Record, Step

ASSIGNMENT = Assignment("filetype", "MIG-1", "GPU-0", 0, 3, "1g.10gb", 6, 1)
CHANGES = (
    Change("speech", "GPU-0", 0, "1g.10gb", 5, Step.GPU),
    Change("speech", "GPU-0", 0, "1g.10gb", 4, Step.VERIFY, 2),
)
SAMPLE = Path(__file__).resolve().parents[2] / "data" / "gpu-journal-1.json"


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    record = Record((ASSIGNMENT,), CHANGES)
    Journal(str(tmp_path / "journal.json")).save(record)
    assert Journal(str(tmp_path / "journal.json")).load() == record


def test_the_shipped_format_is_read() -> None:
    assert Journal(str(SAMPLE)).load() == Record((ASSIGNMENT,), CHANGES)


def test_no_file_is_an_empty_record(tmp_path: Path) -> None:
    assert Journal(str(tmp_path / "journal.json")).load() == Record()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"schema":2,"assignments":[],"pending":[]}',
        '{"schema":1,"assignments":[]}',
        '{"schema":1,"assignments":[{"agent":"a"}],"pending":[]}',
        '{"schema":1,"assignments":[1],"pending":[]}',
        '{"schema":1,"assignments":[],"pending":[{"step":"dance"}]}',
        (
            '{"schema":1,"assignments":[],"pending":[{"agent":1,"gpu_uuid":"","gpu":0,"instance":1,'
            '"profile":"","start":0,"step":"verify"}]}'
        ),
    ],
)
def test_what_is_no_journal_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "journal.json"
    path.write_text(content)
    journal = Journal(str(path))
    with pytest.raises(ConfigError, match="not a GPU journal"):
        journal.load()
    assert Path(journal.set_aside()).read_text() == content
    assert journal.load() == Record()
