"""The NVML emulator in this process: the library is loaded by path, and pynvml finds it loaded."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def fails(code: int, call: Callable[..., Any], *arguments: Any) -> None:
    """The call is refused with this NVML error."""
    with pytest.raises(pynvml.NVMLError) as caught:
        call(*arguments)
    assert caught.value.value == code


def place(gpu: Any, profile: int, start: int, size: int) -> Any:
    """A new GPU instance at a placement."""
    placement = pynvml.c_nvmlGpuInstancePlacement_t(start, size)
    return pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(gpu, profile, ctypes.byref(placement))


def inject(state: Path, *lines: str) -> None:
    """What is to go wrong from now on: these lines, and no others."""
    state.with_name("state.inject").write_text("".join(f"{line}\n" for line in lines))
