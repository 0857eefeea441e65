from __future__ import annotations

from pathlib import Path

import pytest

from ainit.attest.directory import RECORD, load, load_record, save, save_evidence, save_record
from ainit.attest.enrol import Enrolment
from ainit.attest.evidence import FILE_BYTES
from ainit.errors import ConfigError

from .machine import NAMES, Machine

Honest = tuple[Machine, Enrolment]


def test_a_conversation_survives_the_directory(honest: Honest, tmp_path: Path) -> None:
    place = tmp_path / "new" / "evidence"
    save(place, honest[1])
    assert load(place) == honest[1].evidence
    assert load_record(place) == (honest[1].nonce, honest[1].activation)
    assert {path.name for path in place.iterdir()} == {*NAMES, RECORD}


def test_evidence_without_a_conversation_has_no_record(honest: Honest, tmp_path: Path) -> None:
    save_evidence(tmp_path, honest[1].evidence)
    assert load_record(tmp_path) is None


def test_what_is_missing_is_empty(tmp_path: Path) -> None:
    assert load(tmp_path).quote_msg == b""


def test_a_file_that_is_too_long_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.cel").write_bytes(bytes(FILE_BYTES + 1))
    with pytest.raises(ConfigError, match=r"log\.cel"):
        load(tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "ak.pem").mkdir()
    with pytest.raises(ConfigError, match=r"ak\.pem"):
        load(tmp_path)


def test_an_altered_record_is_refused_and_named(honest: Honest, tmp_path: Path) -> None:
    save_record(tmp_path, honest[1])
    path = tmp_path / "credential.json"
    data = path.read_bytes()
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ConfigError, match=r"credential\.json"):
            load_record(tmp_path)
