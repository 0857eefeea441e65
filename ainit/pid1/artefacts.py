"""What a unit may use, measured before it is handed over: models, extensions, agents' bundles.

A model is handed over as the very descriptor that was measured, so there is no gap between
measuring and using. What cannot be measured raises RefusedError.
"""

from __future__ import annotations

import os

from ..constants import ADMITTED, BUNDLES, EXTENSIONS, LISTEN_FD
from ..errors import MeasurementError, RefusedError
from ..linux import libc
from ..policy import phases
from ..wire.codec import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..policy.phases import Event
    from ..policy.plan import Record, Unit
    from .journal import Journal
    from .logs import Logs
    from .measure import Measurements

_MOUNTED = "mounted"


class Artefacts:
    """Opens, compares, measures and mounts."""

    def __init__(
        self, measurements: Measurements, logs: Logs, journal: Journal, admitted: str = ADMITTED
    ) -> None:
        self._measurements = measurements
        self._logs = logs
        self._journal = journal
        self._admitted_path = admitted
        known = journal.values.get(_MOUNTED)
        self._mounted: dict[str, object] = known if isinstance(known, dict) else {}

    def boot_events(self, units: list[Unit]) -> tuple[list[Event], list[Event]]:
        """The events of the boot set: what the store holds, then agents. A refusal is one, too."""
        models = []
        for entry in self.admitted().values():
            name, kind = str(entry["name"]), str(entry["kind"])
            try:
                descriptor, event = self._open_stored(name, kind)
                os.close(descriptor)
                models.append(event)
            except RefusedError as error:
                models.append(phases.refused(kind, name, str(error)))
        agents = []
        for unit in units:
            if unit.bundle:
                try:
                    descriptor, event = self._open_bundle(unit)
                    os.close(descriptor)
                    agents.append(event)
                except RefusedError as error:
                    agents.append(phases.refused(phases.AGENT, unit.name, str(error)))
        return models, agents

    def admitted(self) -> dict[str, Record]:
        """What the store admitted or refused, by name; empty while it has not spoken."""
        try:
            with open(self._admitted_path, "rb") as file:
                record = loads(file.read())
        except (OSError, ValueError):
            return {}
        models = record.get("models") if isinstance(record, dict) else None
        return {
            str(entry["name"]): entry
            for entry in (models if isinstance(models, list) else [])
            if isinstance(entry, dict)
            and {"name", "kind", "path", "digest", "state", "reason"} <= set(entry)
            and entry["kind"] in phases.STORED
        }

    def models(
        self, unit: Unit, descriptors: list[int], opened: list[int], environment: dict[str, str]
    ) -> list[str]:
        """Open and measure what the unit names, and say in the environment where it is. Returns
        the digests.
        """
        digests = []
        for name, required in _both(unit.models, unit.optional_models):
            try:
                descriptor, event = self._open_stored(name, phases.MODEL, phases.POLICY)
            except RefusedError as error:
                self._do_without(f"model {name}", required, unit, error)
                continue
            opened.append(descriptor)
            self._measurements.add(event)
            digests.append(str(event.content["digest"]))
            target = LISTEN_FD + len(descriptors)
            descriptors.append(descriptor)
            environment["AINOS_MODEL_" + name.upper().replace("-", "_")] = f"/proc/self/fd/{target}"
        return digests

    def extensions(self, unit: Unit, environment: dict[str, str]) -> list[str]:
        """Mount what the unit names, and say where: every agent that names an extension sees the
        same one. Returns the directories.
        """
        directories = []
        for name, required in _both(unit.extensions, unit.optional_extensions):
            try:
                descriptor, event = self._open_stored(name, phases.EXTENSION)
                directory = self._mount(descriptor, event, f"{EXTENSIONS}/{name}")
            except (RefusedError, OSError) as error:
                self._do_without(f"extension {name}", required, unit, error)
                continue
            environment["AINOS_EXTENSION_" + name.upper().replace("-", "_")] = directory
            directories.append(directory)
        return directories

    def _do_without(self, what: str, required: bool, unit: Unit, error: Exception) -> None:
        """Say that a unit starts without something. Raises RefusedError when it needs that."""
        if required:
            raise RefusedError(f"{what}: {error}") from error
        self._logs.say(unit.name, f"starts without the {what}: {error}")

    def _open_stored(self, name: str, *kinds: str) -> tuple[int, Event]:
        """A file of the store, open and compared with what the store admitted."""
        entry = self.admitted().get(name)
        if entry is None:
            raise RefusedError("is not in the model store")
        if entry["kind"] not in kinds:
            raise RefusedError(f"is of the kind {entry['kind']}, not {' or '.join(kinds)}")
        if entry["state"] != "admitted":
            raise RefusedError(str(entry["reason"]))
        descriptor = _open(str(entry["path"]))
        try:
            digest = self._measurements.digest(descriptor)
            if digest != entry["digest"]:
                raise MeasurementError(f"altered: is {digest}, was admitted as {entry['digest']}")
            return descriptor, phases.measured(str(entry["kind"]), name, digest)
        except BaseException:
            os.close(descriptor)
            raise

    def _open_bundle(self, unit: Unit) -> tuple[int, Event]:
        descriptor = _open(unit.bundle)
        try:
            digest = self._measurements.digest(descriptor)
            return descriptor, phases.measured(phases.AGENT, unit.name, digest)
        except BaseException:
            os.close(descriptor)
            raise

    def bundle(self, unit: Unit) -> str:
        """Where the agent's bundle is mounted: measured and mounted through one descriptor."""
        descriptor, event = self._open_bundle(unit)
        return self._mount(descriptor, event, f"{BUNDLES}/{unit.name}")

    def _mount(self, descriptor: int, event: Event, directory: str) -> str:
        """Measure and mount a file system, unless that very one is mounted; close its file."""
        try:
            digest = str(event.content["digest"])
            if self._mounted.get(directory) != digest:
                self._measurements.add(event)
                os.makedirs(directory, exist_ok=True)
                flags = libc.MS_RDONLY | libc.MS_NOSUID | libc.MS_NODEV
                libc.mount(f"/proc/self/fd/{descriptor}", directory, "erofs", flags)
                self._mounted[directory] = digest
                self._journal.put(_MOUNTED, self._mounted)
            return directory
        finally:
            os.close(descriptor)


def _open(path: str) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO must not block us
    try:
        return os.open(path, flags)
    except OSError as error:
        raise MeasurementError(f"{path} cannot be opened: {error.strerror}") from error


def _both(required: Sequence[str], optional: Sequence[str]) -> list[tuple[str, bool]]:
    return [(name, True) for name in required] + [(name, False) for name in optional]
