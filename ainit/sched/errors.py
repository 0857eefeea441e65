"""What can go wrong with GPUs, by what the caller does next."""

from __future__ import annotations

from ..errors import AinosError, UnavailableError


class GpuError(UnavailableError):
    """The driver refused or failed an operation on a GPU."""


class GpuMissingError(GpuError):
    """There is no GPU to work with: no library, no driver, or no device."""


class GpuLostError(GpuError):
    """One GPU does not answer any more: it fell off the bus. Others may."""


class GpuBusyError(GpuError):
    """Something still uses the instance; it can be destroyed later."""


class NoRoomError(GpuError):
    """The driver has no room for the instance."""


class PolicyError(AinosError):
    """The policy gave no usable proposal; the heuristic decides."""


class PolicyLateError(PolicyError):
    """It gave one too late. That may be the machine's fault, which was busy."""
