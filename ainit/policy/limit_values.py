"""Checks of the tables of limits in a unit file: ``limits`` and ``io_max``. See ``values``.

>>> limits({"nofile": 1024, "core": "infinity"})
{'nofile': 1024, 'core': -1}
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import kernel_names, values
from .values import Check

_DEVICE = re.compile(r"\d{1,4}:\d{1,7}\Z", re.ASCII)


def limits(value: object) -> dict[str, int]:
    """Limits as in setrlimit(2); -1 is none."""
    if not isinstance(value, dict):
        raise ValueError("is a table of limits")
    return {key: _limit(key, item) for key, item in value.items()}


def _limit(name: str, value: object) -> int:
    if name not in kernel_names.LIMITS:
        raise ValueError(f"has no limit {name}; there are {', '.join(kernel_names.LIMITS)}")
    if value == "infinity":
        return -1
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= values.SIZE_MAX:
        return value
    try:
        found = values.size(0)(value) if name in kernel_names.BYTE_LIMITS else None
    except ValueError:
        found = None
    if not isinstance(found, int):
        raise ValueError(f'has {name}, which is a whole number or "infinity"')
    return found


_IO_KEYS: Mapping[str, tuple[str, Check]] = {
    "read_bps": ("rbps", values.size(1)),
    "write_bps": ("wbps", values.size(1)),
    "read_iops": ("riops", values.whole(1, values.SIZE_MAX)),
    "write_iops": ("wiops", values.whole(1, values.SIZE_MAX)),
}


def io_max(value: object) -> dict[str, dict[str, object]]:
    """Limits of block devices, in the words of the kernel's ``io.max``."""
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise ValueError("is a table of devices, each a table of limits")
    found: dict[str, dict[str, object]] = {}
    for device, table in value.items():
        if not _DEVICE.match(device):
            try:
                values.path(device)
            except ValueError:
                raise ValueError(f"has {device!r}: a device is MAJOR:MINOR or a path") from None
        limits_: dict[str, object] = {}
        for key, item in table.items():
            if key not in _IO_KEYS:
                raise ValueError(f"has {key}; there are {', '.join(_IO_KEYS)}")
            field, check = _IO_KEYS[key]
            try:
                limits_[field] = check(item)
            except ValueError as error:
                raise ValueError(f"has {key}, which {error}") from None
        found[device] = limits_
    return found
