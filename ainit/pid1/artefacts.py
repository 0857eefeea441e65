"""What a unit may use, measured before it is handed over: models, extensions, agents' bundles.

A model is handed over as the very descriptor that was measured, or as a directory in which the very
files that were measured are mounted (``model_directories``), so there is no gap between measuring
and using. What cannot be measured raises RefusedError.
"""

from __future__ import annotations

import os

from ..constants import ADMITTED, BUNDLES, EXTENSIONS, LISTEN_FD
from ..errors import MeasurementError, RefusedError
from ..linux import files, libc
from ..policy import model_files, phases
from ..wire.codec import loads
from .model_directories import ModelDirectories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..policy.phases import Event
    from ..policy.plan import Record, Unit
    from .journal import Journal
    from .logs import Logs
    from .measure import Measurements

_MOUNTED = "mounted"
_LATER = ".later"  # no unit is called so


class Stored:
    """Something of the store, open: the event that measures it, and its files, by name: descriptors
    and fs-verity digests. What is one file has no name for it but the empty one.
    """

    __slots__ = ("digests", "event", "files")

    def __init__(self, event: Event, files: dict[str, int], digests: list[str]) -> None:
        self.event = event
        self.files = files
        self.digests = digests


class Artefacts:
    """Opens, compares, measures and mounts."""

    def __init__(
        self,
        measurements: Measurements,
        logs: Logs,
        journal: Journal,
        admitted: str = ADMITTED,
        *,
        directories: ModelDirectories | None = None,
    ) -> None:
        self._measurements = measurements
        self._logs = logs
        self._journal = journal
        self._admitted_path = admitted
        self._directories = directories or ModelDirectories()
        known = journal.values.get(_MOUNTED)
        self._mounted: dict[str, object] = known if isinstance(known, dict) else {}

    def boot_events(self, units: list[Unit]) -> tuple[list[Event], list[Event]]:
        """The events of the boot set: what the store holds, then agents. A refusal is one, too."""
        models = []
        for entry in self.admitted().values():
            name, kind = str(entry["name"]), str(entry["kind"])
            try:
                stored = self._open_stored(name, kind)
                files.close(stored.files.values())
                models.append(stored.event)
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
    ) -> tuple[list[str], list[str]]:
        """Open and measure what the unit names, and say in the environment where it is. Returns
        the digests of the files, and the directories of the models that are several.
        """
        digests: list[str] = []
        directories: list[str] = []
        several = {}
        for name, required in _both(unit.models, unit.optional_models):
            try:
                stored = self._open_stored(name, phases.MODEL, phases.POLICY)
            except RefusedError as error:
                self._do_without(f"model {name}", required, unit, error)
                continue
            opened += stored.files.values()
            self._measurements.add(stored.event)
            digests += stored.digests
            if "" not in stored.files:
                several[name] = stored.files
                continue
            environment[_variable(name)] = f"/proc/self/fd/{LISTEN_FD + len(descriptors)}"
            descriptors += stored.files.values()
        if several:
            for name, directory in self._directories.lay(unit.name, several).items():
                environment[_variable(name)] = directory
                directories.append(directory)
        return digests, directories

    def hand_over(self, unit: Unit, name: str) -> str:
        """Measure what is now in the store under a name that a running unit has, and lay it out for
        it; returns the file. Of what was handed over so before, this takes the place.
        """
        if name not in (*unit.models, *unit.optional_models):
            raise RefusedError(f"{unit.name} does not name the model {name}")
        stored = self._open_stored(name, phases.MODEL, phases.POLICY)
        try:
            if "" not in stored.files:
                raise RefusedError(f"{name} is several files, which only a start hands over")
            self._measurements.add(stored.event)
            laid = {name: {name: stored.files[""]}}
            return f"{self._directories.lay(unit.name + _LATER, laid)[name]}/{name}"
        finally:
            files.close(stored.files.values())

    def forget(self, unit: Unit) -> None:
        """It is down: what was laid out for it goes."""
        if unit.models or unit.optional_models:
            self._directories.remove(unit.name)
            self._directories.remove(unit.name + _LATER)

    def extensions(self, unit: Unit, environment: dict[str, str]) -> list[str]:
        """Mount what the unit names, and say where: every agent that names an extension sees the
        same one. Returns the directories.
        """
        directories = []
        for name, required in _both(unit.extensions, unit.optional_extensions):
            try:
                stored = self._open_stored(name, phases.EXTENSION)
                directory = self._mount(stored.files[""], stored.event, f"{EXTENSIONS}/{name}")
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

    def _open_stored(self, name: str, *kinds: str) -> Stored:
        """What the store has under a name, open and compared with what the store admitted."""
        entry = self.admitted().get(name)
        if entry is None:
            raise RefusedError("is not in the model store")
        if entry["kind"] not in kinds:
            raise RefusedError(f"is of the kind {entry['kind']}, not {' or '.join(kinds)}")
        if entry["state"] != "admitted":
            raise RefusedError(str(entry["reason"]))
        opened: dict[str, int] = {}
        try:
            found = {}
            for file, path in _paths(entry).items():
                opened[file] = descriptor = _open(path)
                digest = self._measurements.digest(descriptor)
                found[file] = os.fstat(descriptor).st_size, digest
            digest = model_files.digest(found)
            if digest != entry["digest"]:
                raise MeasurementError(f"altered: is {digest}, was admitted as {entry['digest']}")
            event = phases.measured(str(entry["kind"]), name, digest)
            return Stored(event, opened, [each for _, each in found.values()])
        except BaseException:
            files.close(opened.values())
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


def _paths(entry: Record) -> dict[str, str]:
    """The files of an entry by name, or the one file. Raises MeasurementError for other names."""
    path, names = str(entry["path"]), entry.get("files")
    if not names:
        return {"": path}
    if not isinstance(names, list) or not 1 < len(names) <= model_files.FILES_MAX:
        raise MeasurementError("the store does not say of which files it is")
    if entry["kind"] != phases.MODEL:
        raise MeasurementError("is several files, which only a model may be")
    for name in names:
        if not isinstance(name, str) or not model_files.is_file(name):
            raise MeasurementError(f"the store names {name}, which is no file name")
    return {str(name): f"{path}/{name}" for name in names}


def _variable(model: str) -> str:
    return "AINOS_MODEL_" + model.upper().replace("-", "_")


def _open(path: str) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO must not block us
    try:
        return os.open(path, flags)
    except OSError as error:
        raise MeasurementError(f"{path} cannot be opened: {error.strerror}") from error


def _both(required: Sequence[str], optional: Sequence[str]) -> list[tuple[str, bool]]:
    return [(name, True) for name in required] + [(name, False) for name in optional]
