"""The ``[gpu]`` part of the machine configuration: what GPUs this machine has.

    [gpu]
    expected = 8                        # fewer are a finding, and looked for again

Leaves out which agent gets what, which their manifests say.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Finding
from . import values
from .toml import Table

EXPECTED_MAX = 64

_KEYS: Mapping[str, values.Check] = {"expected": values.whole(0, EXPECTED_MAX)}


def gpu(table: Table) -> tuple[dict[str, object] | None, list[Finding]]:
    """The record of ``[gpu]``, None without the table; and every finding."""
    findings: list[Finding] = []
    if not table.values:
        return None, []
    return table.checked(_KEYS, findings), findings
