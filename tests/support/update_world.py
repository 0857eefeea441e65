"""A machine for the steps of an update: slots, services and a repository that are all in memory.

machine = UpdateMachine(tmp_path)
machine.publish("0.2.0")
machine.flow.install(None, quiet); machine.reboot()
assert machine.version == "0.2.0"
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ainit.ota.decide import Slot
from ainit.ota.flow import Flow
from ainit.ota.gate import Answers
from ainit.ota.history import Records
from ainit.ota.model_release import ModelRelease
from ainit.ota.ports import Repository, Tell, Wanted
from ainit.ota.release import File, Release, order
from ainit.ota.trial import Host
from ainit.policy.update import Settings

IMAGE = "base-x86_64"
START = 1_800_000_000.0
TRIES = 3


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def release(version: str, **more: object) -> Release:
    """A release for this machine."""
    found = Release(version, "base", "x86_64", "0", 1, {"root.erofs": File("ab" * 32, 4096)})
    return replace(found, **more)  # type: ignore[arg-type]


def unit(name: str, state: str = "ready", **more: object) -> dict[str, object]:
    """A unit as PID 1 tells of it."""
    base = {"name": name, "kind": "agent", "state": state, "essential": False, "restarts": 0}
    return {**base, "reason": "", **more}


def status(
    *units: dict[str, object], health: str = "healthy", findings: Collection[str] = ()
) -> dict[str, object]:
    """What PID 1 tells of itself."""
    machine = {"health": health, "findings": list(findings), "tpm": "present"}
    return {"machine": machine, "units": list(units)}


HEALTHY = Answers(status=status(unit("speech")))


@dataclass
class Published:
    """What ``newest`` gives."""

    release: Release
    rollout: int = 100


@dataclass
class Shelf:
    """A repository; ``fault`` is raised by ``refresh``."""

    newest_: Published | None = None
    all: dict[str, Release] = field(default_factory=dict)
    approval: bytes = b'{"generation": 1}'
    signed: float | None = START - 1000
    fault: Exception | None = None
    refreshed: int = 0
    content: dict[str, bytes] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)
    models: dict[str, ModelRelease] = field(default_factory=dict)  # of version 2.0

    def refresh(self) -> None:
        self.refreshed += 1
        if self.fault:
            raise self.fault

    def signed_time(self) -> float | None:
        return self.signed

    def newest(self, channel: str, image: str) -> Published | None:
        return self.newest_

    def release(self, channel: str, image: str, version: str) -> Release | None:
        return self.all.get(version)

    def model(self, channel: str, name: str, version: str | None) -> ModelRelease | None:
        return self.models.get(name) if version in (None, "2.0") else None

    def names(self, channel: str, image: str, version: str) -> dict[str, File]:
        prefix = f"{channel}/{image}/{version}/"
        return {
            path.removeprefix(prefix): File(hashlib.sha256(data).hexdigest(), len(data))
            for path, data in self.content.items()
            if path.startswith(prefix)
        }

    def small(self, path: str, limit: int) -> bytes:
        return self.content.get(path, self.approval)[:limit]

    def fetch(self, path: str, place: str, tell: Tell) -> None:
        if path in self.broken:
            raise self.broken[path]
        Path(place).write_bytes(self.content[path])
        tell(len(self.content[path]), len(self.content[path]))

    def parts(self, path: str, wanted: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        for offset, size in wanted:
            yield self.content[path][offset : offset + size]


class UpdateMachine:
    """The world of `Flow`, and who boots it. ``faults`` are raised by the method of that name."""

    def __init__(self, place: Path, version: str = "0.1.0") -> None:
        self.version, self.boots, self.time, self.clock = version, 1, START, 10.0
        self.place = place
        self.entries = {version: TRIES}
        self.approvals: dict[str, int] = {}
        self.shelf = Shelf()
        self.config = Settings(repository="https://updates.example", healthy_s=300)
        self.found = HEALTHY
        self.closed = ""
        self.crashed: list[str] = []
        self.faults: dict[str, Exception] = {}
        self.did: list[str] = []
        self.said: list[str] = []
        self.dies_at = ""
        self.delivered: dict[str, bytes] = {}
        self.start()

    def start(self) -> None:
        """The service starts, anew perhaps."""
        host = Host(self.version, IMAGE, f"boot-{self.boots}")
        self.records = Records(str(self.place / "update"))
        self.flow = Flow(host, self.records, lambda: self.config, self, self.said.append)
        self.flow.begin()

    def boot(self, *, reaches: bool = True) -> None:
        """The machine starts: the loader counts down, and takes the newest that has tries left.
        With ``reaches`` false a release that is not the oldest never gets as far as its service.
        """
        self.clock = 10.0
        while True:
            self.boots += 1
            best = max(self.entries, key=lambda each: (self.entries[each] > 0, order(each)))
            self.entries[best] = max(self.entries[best] - 1, 0)
            self.version = best
            if reaches or best == min(self.entries, key=order):
                break
        self.start()
        if self.flow.trial is None:
            self.entries[best] = TRIES  # what the confirming unit does

    def publish(self, version: str, rollout: int = 100, **more: object) -> None:
        """A release is the newest."""
        found = release(version, **more)
        self.shelf.newest_, self.shelf.all[version] = Published(found, rollout), found

    def look(self, seconds: float, step: float = 5.0) -> None:
        """The release on trial is looked at for so long, or until it is over."""
        until = self.clock + seconds
        while self.clock < until and self.flow.trial and not self.flow.trial.is_over:
            self.flow.trial.look()
            self.clock += step
            self.time += step

    def outcomes(self) -> list[tuple[str, str]]:
        """Version and outcome of each entry of the history."""
        return [(entry.version, entry.outcome) for entry in self.records.history()]

    # What `World` asks for.

    @contextmanager
    def repository(self, settings: Settings) -> Iterator[Repository]:
        self._do("repository")
        yield self.shelf

    def install(self, repository: Repository, wanted: Wanted, tell: Tell) -> None:
        for version in [each for each in self.entries if each != self.version]:
            del self.entries[version]
        tell(1, 2)
        self._do("install")
        wanted.pending()
        self._do("switch")
        self.entries[wanted.release.version] = TRIES

    def slots(self) -> list[Slot]:
        return [Slot(version, left) for version, left in self.entries.items()]

    def approval(self, version: str) -> bytes:
        generation = self.approvals.get(version)
        return b"" if generation is None else json.dumps({"generation": generation}).encode()

    def confirm(self) -> None:
        self._do("confirm")
        self.entries[self.version] = TRIES

    def rearm(self, version: str) -> None:
        self._do(f"rearm {version}")
        self.entries[version] = TRIES

    def condemn(self, version: str) -> None:
        self._do(f"condemn {version}")
        self.entries[version] = 0

    def retire(self) -> None:
        self._do("retire")
        self.entries = {self.version: self.entries[self.version]}

    def answers(self, required: Collection[str], *, evidence: bool) -> Answers:
        if evidence:
            self.did.append("quote")
        return self.found if evidence else replace(self.found, evidence="")

    def seal_refusal(self, approval: bytes) -> str:
        return self.closed

    def raise_seal(self) -> None:
        self._do("raise seal")

    def crashes(self, since: float) -> list[str]:
        return self.crashed

    def set_clock(self, seconds: float) -> None:
        self.did.append("set clock")
        self.time = seconds

    def admit(self, directory: str, hold_s: float | None) -> None:
        found = Path(directory)
        self.delivered = {each.name: each.read_bytes() for each in found.iterdir()}
        self._do(f"admit {found.parent.name} {hold_s}")

    def reboot(self) -> None:
        self.did.append("reboot")

    def now(self) -> float:
        return self.time

    def steady(self) -> float:
        return self.clock

    def _do(self, what: str) -> None:
        name = what.partition(" ")[0]
        if self.dies_at == name:
            raise KeyboardInterrupt  # as a kill: nobody tidies up
        if name in self.faults:
            raise self.faults[name]
        self.did.append(what)
