"""Which GPUs are on the bus, as the device service announces it, and what that means here. PURE.

The device service hears the kernel; the GPU service hears of it by the file ``GPUS``, replaced as a
whole: ``{"gpus": ["0000:41:00.0"], "switches": []}``. Leaves out who waits for the file.

>>> changes(("0000:41:00.0",), ("0000:41:00.0", "0000:a1:00.0"))
(('0000:a1:00.0',), ())
>>> short("00000000:41:00.0")
'0000:41:00.0'
"""

from __future__ import annotations

from ..wire.codec import loads


def parse(data: bytes) -> tuple[str, ...]:
    """The addresses of the GPUs in the file. Raises ValueError when it is not such a file."""
    document = loads(data)
    listed = document.get("gpus") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise ValueError("gpus is a list of PCI addresses")
    return tuple(sorted(listed))


def changes(
    before: tuple[str, ...], after: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What came, and what went."""
    came = tuple(each for each in after if each not in before)
    return came, tuple(each for each in before if each not in after)


def short(address: str) -> str:
    """NVML's address as the kernel writes it: four digits of the domain, unless it needs more."""
    domain, _, rest = address.lower().partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest}"
    except ValueError:
        return address
