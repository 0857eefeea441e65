from __future__ import annotations

from pathlib import Path

import pytest

from ainit.attest.directory import load, load_record, save, save_record
from ainit.attest.enrol import Enrolment
from ainit.attest.evidence import FILE_BYTES
from ainit.errors import ConfigError

from .machine import NAMES, Machine

Honest = tuple[Machine, Enrolment]


def test_evidence_survives_the_directory(honest: Honest, tmp_path: Path) -> None:
    place = tmp_path / "new" / "evidence"
    save(honest[1].evidence, str(place))
    assert load(str(place)) == honest[1].evidence
    assert {path.name for path in place.iterdir()} == set(NAMES)


def test_what_is_missing_is_empty(tmp_path: Path) -> None:
    assert load(str(tmp_path)).quote_msg == b""


def test_a_file_that_is_too_long_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.cel").write_bytes(bytes(FILE_BYTES + 1))
    with pytest.raises(ConfigError, match=r"log\.cel"):
        load(str(tmp_path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "ak.pem").mkdir()
    with pytest.raises(ConfigError, match=r"ak\.pem"):
        load(str(tmp_path))


def test_the_record_of_asking_is_kept(honest: Honest, tmp_path: Path) -> None:
    save_record(honest[1], str(tmp_path))
    assert load_record(str(tmp_path)) == (honest[1].nonce, honest[1].activation)


def test_nobody_asked(tmp_path: Path) -> None:
    assert load_record(str(tmp_path)) is None


def test_an_altered_record_is_refused_and_named(honest: Honest, tmp_path: Path) -> None:
    save_record(honest[1], str(tmp_path))
    path = tmp_path / "credential.json"
    data = path.read_bytes()
    for position in range(0, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ConfigError, match=r"credential\.json"):
            load_record(str(tmp_path))
