from __future__ import annotations

from pathlib import Path

import pytest

from ainit.errors import ConfigError
from ainit.sched.journal import Journal, PartitionFile
from ainit.sched.records import (
    Assignment,
    Barred,
    Change,
    End,
    Member,
    Outcome,
    Phase,
    Record,
    Slot,
    Step,
    Transaction,
)

ASSIGNMENT = Assignment("filetype", "MIG-1", "GPU-0", 0, 3, "1g.10gb", 6, 1)
CHANGES = (
    Change("speech", "GPU-0", 0, "1g.10gb", 5, Step.GPU),
    Change("speech", "GPU-0", 0, "1g.10gb", 4, Step.VERIFY, 2),
)
SLOTS = (Slot("GPU-0", "1g.10gb", 6, 1), Slot("GPU-0", "3g.40gb", 0, 4))
FULL = Record(
    assignments=(ASSIGNMENT,),
    pending=(
        Change("", "GPU-0", 0, "1g.10gb", 5, Step.DESTROY, 4, (1, 3), 2, 12.5),
        Change("speech", "GPU-0", 0, "2g.20gb", 4, Step.GPU, known=()),
    ),
    members=(Member("MIG-1", "GPU-0", 3, "1g.10gb", 6, 1),),
    partition=SLOTS[:1],
    barred=(Barred("GPU-1", 4, 4, "Insufficient Resources", 3, 99.5),),
    transaction=Transaction(
        number=7,
        name="balanced",
        phase=Phase.ROLLBACK,
        gpus=("GPU-0",),
        target=SLOTS,
        drain=("speech",),
        since=90.0,
        stopped=("speech", "voice"),
        foreign=(Member("MIG-9", "GPU-0", 9, "2g.20gb", 4, 2),),
        reason="GPU is lost",
        tries=1,
        due=95.0,
        missing=SLOTS[1:],
    ),
    resume=("filetype",),
    restart=("voice",),
    outcomes=(Outcome(6, "small", End.COMMITTED, "", 80.0),),
    last=7,
)
DATA = Path(__file__).resolve().parents[2] / "data"
SAMPLE = DATA / "gpu-journal-1.json"


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    record = Record((ASSIGNMENT,), CHANGES)
    Journal(str(tmp_path / "journal.json")).save(record)
    assert Journal(str(tmp_path / "journal.json")).load() == record


def test_the_shipped_format_is_read() -> None:
    assert Journal(str(SAMPLE)).load() == Record((ASSIGNMENT,), CHANGES)


def test_all_that_there_is_to_save_is_loaded(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal.json"))
    journal.save(FULL)
    assert journal.load() == FULL


def test_the_present_format_is_as_shipped() -> None:
    assert Journal(str(DATA / "gpu-journal-2.json")).load() == FULL


def test_a_partition_is_kept(tmp_path: Path) -> None:
    file = PartitionFile(str(tmp_path / "partition.json"))
    assert file.load() == ()
    file.save(SLOTS)
    assert file.load() == SLOTS
    assert PartitionFile(str(DATA / "gpu-partition-1.json")).load() == SLOTS


@pytest.mark.parametrize("content", ["{", '{"schema":2,"partition":[]}', '{"schema":1}'])
def test_what_is_no_partition_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "partition.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="not a GPU partition"):
        PartitionFile(str(path)).load()


def test_no_file_is_an_empty_record(tmp_path: Path) -> None:
    assert Journal(str(tmp_path / "journal.json")).load() == Record()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"schema":3,"assignments":[],"pending":[]}',
        '{"schema":2,"assignments":[],"pending":[]}',
        (
            '{"schema":2,"assignments":[],"pending":[],"members":[],"partition":{},"barred":[],'
            '"transaction":null,"resume":[],"restart":[],"outcomes":[],"last":0}'
        ),
        (
            '{"schema":2,"assignments":[],"pending":[],"members":[],"partition":[],"barred":[],'
            '"transaction":null,"resume":[1],"restart":[],"outcomes":[],"last":0}'
        ),
        (
            '{"schema":2,"assignments":[],"pending":[],"members":[],"partition":[],"barred":[],'
            '"transaction":null,"resume":[],"restart":[],"outcomes":[],"last":"0"}'
        ),
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
