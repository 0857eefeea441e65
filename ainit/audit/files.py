"""What the audit service keeps on the state partition: records of use, overlays, who is watched.

Every file is replaced as a whole. An overlay that another one takes the place of is kept as
``NAME.previous``, empty when there was none, so that it can be brought back.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..constants import AUDITING, OVERLAYS, RECORDS
from ..linux import files
from ..policy.usage import Usage
from ..wire.codec import dumps, loads


class Files:
    """The directories, which are made when they are needed. Methods raise OSError."""

    def __init__(
        self, records: str = RECORDS, overlays: str = OVERLAYS, auditing: str = AUDITING
    ) -> None:
        self._records = Path(records)
        self._overlays = Path(overlays)
        self._auditing = Path(auditing)

    def audited(self) -> list[str]:
        """The agents in audit mode from their next start on."""
        try:
            return sorted(path.name for path in self._auditing.iterdir())
        except FileNotFoundError:
            return []

    def audit(self, name: str, on: bool) -> None:
        """Have an agent in audit mode from its next start on, or no more."""
        self._auditing.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._auditing / name
        path.touch(mode=0o600) if on else path.unlink(missing_ok=True)
        files.sync_directory(str(self._auditing))

    def recorded(self) -> list[str]:
        """The agents of which there is a record."""
        return sorted(path.stem for path in self._records.glob("*.json"))

    def usage(self, name: str) -> Usage | None:
        """The record of an agent. Raises ValueError with its name for one that cannot be read."""
        path = self._records / f"{name}.json"
        try:
            return Usage.from_record(loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{path} {error}") from error

    def keep(self, name: str, usage: Usage) -> None:
        """Write a record down."""
        self._records.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._records / f"{name}.json"
        files.replace(str(path), dumps(usage.to_record()).encode("ascii"), 0o600)

    def remove(self, name: str) -> None:
        """Forget the record of an agent."""
        (self._records / f"{name}.json").unlink(missing_ok=True)

    def overlay(self, name: str) -> bytes | None:
        """The overlay of an agent, from its next start on."""
        try:
            return (self._overlays / f"{name}.json").read_bytes()
        except FileNotFoundError:
            return None

    def apply(self, name: str, overlay: bytes) -> None:
        """Put an overlay in the place of what there is, which is kept."""
        self._overlays.mkdir(mode=0o700, parents=True, exist_ok=True)
        present = self.overlay(name) or b""
        files.replace(str(self._overlays / f"{name}.previous"), present, 0o600)
        files.replace(str(self._overlays / f"{name}.json"), overlay, 0o600)

    def revert(self, name: str) -> None:
        """Bring back what there was before the last one; nothing, when there was none."""
        present, previous = (self._overlays / f"{name}.{end}" for end in ("json", "previous"))
        try:
            is_empty = not previous.stat().st_size
        except FileNotFoundError:
            is_empty = True
        if is_empty:
            present.unlink()
            previous.unlink(missing_ok=True)
        else:
            os.rename(previous, present)
        files.sync_directory(str(self._overlays))
