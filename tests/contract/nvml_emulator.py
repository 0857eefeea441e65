"""The NVML emulator in this process: the library is loaded by path, and pynvml finds it loaded."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pynvml
import pytest
from lib import emulator

SANITIZED = "AINOS_TEST_SANITIZED"


def load() -> Path:
    """Build the library if it has changed, and load it; the sanitized one when the tests ask."""
    library = emulator.build(sanitize=SANITIZED in os.environ)
    ctypes.CDLL(str(library))
    return library


def configure(
    monkeypatch: pytest.MonkeyPatch,
    state: Path,
    boards: str = "H100-80GB,H100-80GB",
    mig: str = "1",
) -> None:
    """Describe the machine that the emulator will be."""
    monkeypatch.setenv("AINOS_NVML_STATE", str(state))
    monkeypatch.setenv("AINOS_NVML_BOARDS", boards)
    monkeypatch.setenv("AINOS_NVML_MIG", mig)


@contextmanager
def started() -> Iterator[None]:
    """NVML, initialised."""
    load()
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()
