"""EFI variables, on a directory that stands for efivarfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.linux import efi


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(efi, "_EFIVARS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("before", [None, b"\x27\0\0\0old"])
def test_revocations_are_appended(variables: Path, before: bytes | None) -> None:
    path = variables / "dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f"
    if before is not None:
        path.write_bytes(before)
    efi.append_revocations(b"signed list")
    # Non-volatile, boot and runtime access, time-based authentication, append.
    assert path.read_bytes() == b"\x67\0\0\0signed list"


def test_a_text_of_the_loader(variables: Path) -> None:
    path = variables / "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
    path.write_bytes(b"\6\0\0\0" + "\\EFI\\Linux\\a+2-1.efi\0".encode("utf-16-le"))
    assert efi.loader_text("LoaderBootCountPath") == "\\EFI\\Linux\\a+2-1.efi"
    assert efi.loader_text("LoaderEntrySelected") == ""
