"""``[scheduler]`` of the machine configuration: shares of the GPUs, and how often services move.

    [scheduler]
    shares = { research = 3, teaching = 1 }
    wait_max_s = 7200
    moves_per_hour = 2

The GPU service reads the record when it starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import Finding
from . import values
from .toml import Table

_OWNER = re.compile(r"[A-Za-z0-9_.@-]{1,64}\Z")

KEYS: Mapping[str, values.Check] = {
    "shares": values.table_of(_OWNER, "names of owners", values.number(0.01, 1000)),
    "half_life_s": values.number(60, 30 * 86400),
    "wait_max_s": values.number(60, 30 * 86400),
    "moves_per_hour": values.whole(0, 60),
    "residency_s": values.number(60, 86400),
}


def scheduler(table: Table) -> tuple[dict[str, object] | None, list[Finding]]:
    """The record of ``[scheduler]``, None without the table; and every finding."""
    findings: list[Finding] = []
    if not table.values:
        return None, []
    return table.checked(KEYS, findings), findings
