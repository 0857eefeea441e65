"""What updates came to, and what is under way, on the state partition.

    state.json      the update under way: absent when there is none
    floors.json     what may not be gone below any more
    history.json    what the last updates came to, the oldest first
    checked.json    what the last look at the repository came to
    identity        random, for gradual rollouts

Each is replaced as a whole. Leaves out what follows from them: see ``ainit.ota.decide``.

    records = Records(constants.UPDATE)
    records.write(State(INSTALLING, "0.2.0", "0.1.0"))
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from ..linux import files
from ..wire.codec import dumps, loads

INSTALLING = "installing"  # the other slot is being written
PENDING = "pending"  # it is whole, and boots next until it was found healthy
ROLLING_BACK = "rolling-back"  # the release before boots next

INSTALLED, COMMITTED, FELL_BACK, ROLLED_BACK, CANCELLED, FAILED = OUTCOMES = (
    "installed", "committed", "fell-back", "rolled-back", "cancelled", "failed",
)  # fmt: skip
KEPT = 100

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class State:
    """The update under way from ``before`` to ``version``, and what the machine was like.

    ``boot`` is the ID of the boot in which it was made; ``boots`` counts those of the new release
    so far, the last of them ``last_boot``, in which its trial ``began`` so many seconds after the
    start; ``passed`` those in which the loader took another entry; ``reason`` says what was wrong
    when it was looked at last. ``agents`` and ``interfaces``
    were up, ``findings`` were there, before. Floors are those of the new release.
    """

    phase: str
    version: str
    before: str
    boot: str = ""
    boots: int = 0
    last_boot: str = ""
    began: float = 0.0
    passed: int = 0
    by_hand: bool = False
    reason: str = ""
    version_floor: str = "0"
    data_format_floor: int = 1
    agents: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Floors:
    """The lowest version that may be installed, and the lowest generation that reads the state."""

    version: str = "0"
    data_format: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """What an update from ``before`` to ``version`` came to, at a time in seconds since 1970."""

    time: float
    version: str
    before: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the last look at the repository came to, at a time in seconds since 1970.

    ``offered`` is the newest version there, ``hindrance`` why it is not for this machine now.
    ``failures`` counts looks in a row that came to nothing; then ``problem`` says why, and ``kind``
    what sort of trouble that is, see ``ainit.ota.words``.
    """

    time: float = 0.0
    offered: str = ""
    hindrance: str = ""
    failures: int = 0
    problem: str = ""
    kind: str = ""


class Records:
    """The files in one directory, which is made when something is written."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    @property
    def staging(self) -> str:
        """Where downloads lie."""
        return f"{self.directory}/staging"

    def state(self) -> State | None:
        """The update under way."""
        record = self._read("state.json")
        return _built(State, record) if isinstance(record, dict) else None

    def write(self, state: State | None) -> None:
        """Say what is under way; None for nothing. Raises OSError."""
        if state is not None:
            self._write("state.json", asdict(state))
            return
        try:
            os.unlink(f"{self.directory}/state.json")
        except FileNotFoundError:
            return
        files.sync_directory(self.directory)

    def floors(self) -> Floors:
        """What may not be gone below."""
        record = self._read("floors.json")
        return _built(Floors, record) or Floors() if isinstance(record, dict) else Floors()

    def raise_floors(self, floors: Floors) -> None:
        """Keep other floors; it is the caller's to see that they are no lower. Raises OSError."""
        if floors != self.floors():
            self._write("floors.json", asdict(floors))

    def checked(self) -> Checked:
        """The last look at the repository."""
        record = self._read("checked.json")
        return _built(Checked, record) or Checked() if isinstance(record, dict) else Checked()

    def note_checked(self, checked: Checked) -> None:
        """Another look. Raises OSError."""
        self._write("checked.json", asdict(checked))

    def history(self) -> list[Entry]:
        """The last updates, the oldest first."""
        record = self._read("history.json")
        found = [
            _built(Entry, each)
            for each in (record if isinstance(record, list) else [])
            if isinstance(each, dict)
        ]
        return [entry for entry in found if entry]

    def note(self, entry: Entry) -> None:
        """One more. What the last one says already is not said again. Raises OSError."""
        known = self.history()
        last = known[-1] if known else None
        if last and (last.version, last.before, last.outcome, last.reason) == (
            entry.version, entry.before, entry.outcome, entry.reason,
        ):  # fmt: skip
            return
        self._write("history.json", [asdict(each) for each in [*known, entry][-KEPT:]])

    def identity(self) -> str:
        """What tells this machine from others; made at first use. Raises OSError."""
        try:
            with open(f"{self.directory}/identity", encoding="ascii") as file:
                if found := file.read(64).strip():
                    return found
        except FileNotFoundError:
            pass
        made = secrets.token_hex(16)
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        files.replace(f"{self.directory}/identity", made.encode(), 0o600)
        return made

    def clean(self, kept: str = "") -> None:
        """Remove what was downloaded, but for the version ``kept``."""
        try:
            names = os.listdir(self.staging)
        except FileNotFoundError:
            return
        for name in names:
            if name != kept:
                shutil.rmtree(f"{self.staging}/{name}", ignore_errors=True)

    def _read(self, name: str) -> object:
        try:
            with open(f"{self.directory}/{name}", "rb") as file:
                return loads(file.read())
        except FileNotFoundError:
            return None
        except ValueError:  # nobody of ours wrote it
            return None

    def _write(self, name: str, record: object) -> None:
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        files.replace(f"{self.directory}/{name}", dumps(record).encode() + b"\n", 0o600)


def failed(history: list[Entry]) -> dict[str, str]:
    """Versions that did not stay here when they were tried last, and why."""
    found: dict[str, str] = {}
    for entry in history:
        if entry.outcome == COMMITTED:
            found.pop(entry.version, None)
        elif entry.outcome == FELL_BACK:
            found[entry.version] = entry.reason or entry.outcome
        elif entry.outcome == ROLLED_BACK:
            found[entry.before] = "it was rolled back"
    return found


def _built(kind: type[_T], record: Mapping[str, object]) -> _T | None:
    """A record as we wrote it; None when it is none."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in record.items()
        if key in known
    }
    try:
        return kind(**values)
    except TypeError:
        return None
