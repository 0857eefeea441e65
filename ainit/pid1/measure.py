"""Measure, extend, write it down: the TPM, the event log, and what is in them already.

Each distinct (PCR, name, digest) is extended once per boot. The PCR is extended first, then the
record is appended. Without a TPM, or after an extend that failed, records are still kept, for
people; ``has_tpm`` then says that they prove nothing, and what must be measured is refused.
"""

from __future__ import annotations

import os

from ..constants import MEASUREMENTS
from ..errors import MeasurementError, NotCoveredError, TpmError
from ..linux import fsverity, kmsg
from ..linux.tpm import Tpm
from ..policy import phases
from ..wire.codec import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..policy.phases import Content, Event
    from .journal import Journal

# Keys of the journal: an event between its extend and its record, and why the TPM was given up.
_UNDER_WAY = "measuring"
_LOST = "tpm"
_HASHED_HERE_BYTES = 64 << 20  # larger files on the verified root need fs-verity of their own


class Measurements:
    """The boot's measurements. ``tpm_state`` is ``present``, or why there is none."""

    def __init__(
        self,
        journal: Journal,
        open_tpm: Callable[[], Tpm] = Tpm,
        path: str = MEASUREMENTS,
        root: str = "/",
    ) -> None:
        self._journal = journal
        self._tpm: Tpm | None = None
        self._path = path
        self._root_device = os.stat(root).st_dev
        self._seen: set[bytes] = set()
        self.records: list[Content] = []
        self.tpm_state = "present"
        try:
            self._tpm = open_tpm()
        except TpmError as error:
            self._lose(error)
        if lost := journal.values.get(_LOST):
            self._lose(TpmError(str(lost)))
        self._resume()

    @property
    def has_tpm(self) -> bool:
        """Whether measurements reach a TPM."""
        return self._tpm is not None

    def begin(self) -> None:
        """Record which boot of the TPM this is, before anything else is measured."""
        if self._tpm is None:
            return
        try:
            counters = self._tpm.counters()
        except TpmError as error:
            self._lose(error)
            return
        self.add(phases.booted(*counters))

    def add(self, event: Event) -> None:
        """Extend and record ``event``, unless this boot already did."""
        if event.digest in self._seen:
            return
        self._journal.put(_UNDER_WAY, [event.pcr, event.content])
        if self._tpm is not None:
            try:
                self._tpm.extend(event.pcr, event.digest)
            except TpmError as error:
                self._lose(error)
        self._write_down(event)

    def _write_down(self, event: Event) -> None:
        record = event.record(len(self.records))
        self._append(dumps(record) + "\n")
        self._seen.add(event.digest)
        self.records.append(record)
        self._journal.put(_UNDER_WAY, None)

    def _resume(self) -> None:
        """Take up the log of a former PID 1, and finish what it was about when it failed.

        Whether the extend was done, only the PCR can tell: it has one of two values.
        """
        try:
            with open(self._path, "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            lines = []
        for number, line in enumerate(lines):
            record = loads(line)
            if not isinstance(record, dict):
                raise MeasurementError(f"{self._path}: record {number} is no record")
            self.records.append(record)
            self._seen.add(phases.parse(record, number).digest)
        match self._journal.values.get(_UNDER_WAY):
            case [int(pcr), dict(content)]:
                self._finish(phases.Event(pcr, content))

    def _finish(self, event: Event) -> None:
        if event.digest in self._seen:
            self._journal.put(_UNDER_WAY, None)
            return
        if self._tpm is not None:
            try:
                before = phases.replay(self.records)[event.pcr]
                value = self._tpm.read((event.pcr,))[event.pcr]
                if value == before:
                    self._tpm.extend(event.pcr, event.digest)
                elif value != phases.fold(before, event.digest):
                    self._lose(TpmError(f"PCR {event.pcr} was extended by somebody else"))
            except TpmError as error:
                self._lose(error)
        self._write_down(event)

    def digest(self, descriptor: int) -> str:
        """The fs-verity digest of an open file, from the kernel that enforces it.

        A file on the verified root is enforced by dm-verity, so its digest is computed here. Raises
        NotCoveredError for a file on neither, MeasurementError for one that cannot be read.
        """
        try:
            return fsverity.text(fsverity.measure(descriptor))
        except NotCoveredError:
            if os.fstat(descriptor).st_dev != self._root_device:
                raise
        try:
            return fsverity.text(_computed(descriptor))
        except OSError as error:
            raise MeasurementError(f"cannot be read: {error.strerror}") from error

    def pcrs(self) -> dict[str, str]:
        """The TPM's values of the PCRs that AINOS uses or relies on; empty without a TPM.

        A busy TPM answers nothing this time: only a failed extend loses it.
        """
        if self._tpm is None:
            return {}
        try:
            values = self._tpm.read((4, 7, 9, 11, *phases.LOGGED))
        except TpmError as error:
            kmsg.log(f"PCRs cannot be read now: {error}", kmsg.WARNING)
            return {}
        return {str(pcr): value.hex() for pcr, value in sorted(values.items())}

    def _lose(self, error: TpmError) -> None:
        if self._tpm is not None:
            self._tpm.close()
            self._tpm = None
        self.tpm_state = str(error)
        self._journal.put(_LOST, self.tpm_state)
        kmsg.log(f"measurements reach no TPM: {error}", kmsg.WARNING)

    def _append(self, text: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o644)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _computed(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > _HASHED_HERE_BYTES:
        raise MeasurementError("too large to be hashed by PID 1: enable fs-verity")
    os.lseek(descriptor, 0, os.SEEK_SET)
    digest = fsverity.digest_stream(lambda count: os.read(descriptor, count), size)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return digest
