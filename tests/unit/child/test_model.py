from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.child import model
from ainit.errors import UnavailableError


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(range(256)) * 1000)
    descriptor = os.open(path, os.O_RDONLY)
    path.unlink()  # the name is not needed any more
    yield descriptor
    os.close(descriptor)


def test_a_model_is_read_through_the_descriptor_that_was_measured(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AINOS_MODEL_SILERO_VAD", f"/proc/self/fd/{descriptor}")
    assert model.content("silero-vad") == bytes(range(256)) * 1000
    assert model.content("silero-vad") == bytes(range(256)) * 1000  # wherever it is positioned


@pytest.mark.parametrize("value", ["", "/etc/passwd", "/proc/self/fd/", "7"])
def test_anything_but_a_descriptor_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AINOS_MODEL_X", value)
    with pytest.raises(UnavailableError, match="model x was not handed over"):
        model.content("x")


def test_a_model_of_several_files_is_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/run/ainit/models/agent/llama"
    monkeypatch.setenv("AINOS_MODEL_LLAMA", path)
    assert model.directory("llama") == path
    with pytest.raises(UnavailableError, match="not handed over as one file"):
        model.content("llama")


@pytest.mark.parametrize("value", ["", "/proc/self/fd/7", "relative"])
def test_what_is_no_directory_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AINOS_MODEL_X", value)
    with pytest.raises(UnavailableError, match="model x was not handed over as several files"):
        model.directory("x")
