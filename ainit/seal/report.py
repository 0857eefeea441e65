"""How the state was opened at this boot, or why not: written by who tried, read by who is asked.

It lies in /run and outlives no power cut. The PCRs in it are of the moment before anything of the
machine's own was measured, when the TPM still gives the key out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..constants import SEAL
from ..errors import UnavailableError
from ..linux import files
from ..wire.codec import dumps, loads
from .approval import Approval, from_record

OPEN, LOCKED = "open", "locked"


@dataclass(frozen=True, slots=True)
class Report:
    """``device`` is the partition; ``approvals`` are those that lay on the boot partition."""

    device: str
    state: str = LOCKED
    floor: int = 0
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pcrs: Mapping[int, bytes] = field(default_factory=dict)
    approvals: Mapping[str, Approval] = field(default_factory=dict)

    def with_notes(self, *notes: str) -> Report:
        """The report with more to say."""
        return replace(self, notes=(*self.notes, *notes))

    def write(self, path: str = SEAL) -> None:
        """Put it where ``read`` finds it."""
        record = {
            "device": self.device,
            "state": self.state,
            "floor": self.floor,
            "findings": list(self.findings),
            "notes": list(self.notes),
            "pcrs": {str(pcr): value.hex() for pcr, value in self.pcrs.items()},
            "approvals": {name: each.to_record() for name, each in self.approvals.items()},
        }
        files.replace(path, dumps(record).encode(), 0o600)


def read(path: str = SEAL) -> Report:
    """The report of this boot. Raises UnavailableError when the state is not a sealed one."""
    if not os.path.exists(path):
        raise UnavailableError("the state of this machine is not sealed")
    with open(path, "rb") as file:
        record = loads(file.read())
    assert isinstance(record, dict)  # we wrote it
    return Report(
        device=record["device"],
        state=record["state"],
        floor=record["floor"],
        findings=tuple(record["findings"]),
        notes=tuple(record["notes"]),
        pcrs={int(pcr): bytes.fromhex(value) for pcr, value in record["pcrs"].items()},
        approvals={name: from_record(each) for name, each in record["approvals"].items()},
    )
