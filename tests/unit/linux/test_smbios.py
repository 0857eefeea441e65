"""Credentials in an SMBIOS table, whatever the table is."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import RefusedError
from ainit.linux import smbios
from tests.support.smbios import structure, table

NAME = "ainos.machine"
TEXT = b'[machine]\nhostname = "a=b"\n'


def found(tmp_path: Path, data: bytes, name: str = NAME) -> bytes | None:
    path = tmp_path / "DMI"
    path.write_bytes(data)
    return smbios.credential(name, str(path))


@pytest.mark.parametrize(
    "string",
    [
        b"io.systemd.credential:ainos.machine=" + TEXT,
        b"io.systemd.credential.binary:ainos.machine=" + base64.b64encode(TEXT),
    ],
)
def test_a_credential_is_text_or_base64(tmp_path: Path, string: bytes) -> None:
    assert found(tmp_path, table(b"other", string, b"last")) == TEXT


def test_the_first_of_two_counts(tmp_path: Path) -> None:
    begin = b"io.systemd.credential:ainos.machine="
    assert found(tmp_path, table(begin + b"1", begin + b"2")) == b"1"


def test_only_oem_strings_are_credentials(tmp_path: Path) -> None:
    assert found(tmp_path, table(b"other"), "fake") is None
    behind = table(b"other") + structure(11, b"\1", b"io.systemd.credential:ainos.machine=x")
    assert found(tmp_path, behind) is None, "behind the table's end"


@pytest.mark.parametrize("begin", [b"x", b"io.systemd.credential.binary"])
def test_another_string_is_none(tmp_path: Path, begin: bytes) -> None:
    assert found(tmp_path, table(begin + b"io.systemd.credential:ainos.machine=x")) is None
    assert found(tmp_path, table(b"io.systemd.credential:ainos.machines=x")) is None


def test_what_is_no_base64_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"ainos\.machine= is no base64"):
        found(tmp_path, table(b"io.systemd.credential.binary:ainos.machine=x"))


def test_a_table_is_read_whole_though_each_read_gives_a_part_of_it() -> None:
    """As sysfs does, which gives a page; a pipe gives what fits into it."""
    wanted = b"io.systemd.credential:ainos.machine=" + TEXT
    reader, writer = os.pipe()
    try:

        def write() -> None:
            with open(writer, "wb") as file:
                file.write(table(b"x" * (1 << 20), wanted))

        thread = threading.Thread(target=write)
        thread.start()
        assert smbios.credential(NAME, f"/proc/self/fd/{reader}") == TEXT
    finally:
        os.close(reader)
    thread.join()


def test_a_machine_without_a_table_has_none(tmp_path: Path) -> None:
    assert smbios.credential(NAME, str(tmp_path / "none")) is None


@given(st.binary(max_size=64), st.integers(0, 200))
def test_any_table_is_read_to_its_end(data: bytes, cut: int) -> None:
    whole = table(b"one", b"two")
    for each in (data, whole[:cut], whole[:cut] + data):
        assert isinstance(list(smbios.strings(each)), list)
