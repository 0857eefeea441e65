"""NVML's errors as those of this package: wrapped once, where they enter.

>>> with wrapped("the devices"):                                # doctest: +SKIP
...     pynvml.nvmlDeviceGetCount()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pynvml

from .errors import GpuBusyError, GpuError, GpuLostError, GpuMissingError, NoRoomError

_ERRORS: dict[int, type[GpuError]] = {
    pynvml.NVML_ERROR_UNINITIALIZED: GpuMissingError,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: GpuMissingError,
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: GpuMissingError,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: GpuMissingError,
    pynvml.NVML_ERROR_GPU_IS_LOST: GpuLostError,
    pynvml.NVML_ERROR_IN_USE: GpuBusyError,
    pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES: NoRoomError,
}


@contextmanager
def wrapped(action: str) -> Iterator[None]:
    """Raise what NVML raises inside as a GpuError that names ``action``."""
    try:
        yield
    except pynvml.NVMLError as error:
        kind = _ERRORS.get(error.value, GpuError)
        raise kind(f"{action}: {error}") from error
