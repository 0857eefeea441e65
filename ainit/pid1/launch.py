"""The only path from an artefact to a running process: open, measure, compare, extend, fork.

A model is handed over as the very descriptor that was measured, so there is no gap between
measuring and using. What cannot be measured raises RefusedError, and nothing is started.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, socket

from ..constants import ADMITTED, BUNDLES, EXTENSIONS, LISTEN_FD, NOTIFY, SOCKETS
from ..errors import MeasurementError, RefusedError
from ..linux import libc, process
from ..policy import phases, plan
from ..wire.codec import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..linux.cgroup import Tree
    from ..policy.phases import Event
    from ..policy.plan import Record, Unit
    from .logs import Logs
    from .measure import Measurements

_BACKLOG = 128
_PATH = "/usr/bin:/usr/sbin"


class Launcher:
    """Starts units. ``without_tpm`` is the machine's policy: ``refuse`` or ``start``."""

    def __init__(
        self,
        measurements: Measurements,
        cgroups: Tree,
        logs: Logs,
        *,
        without_tpm: str,
        admitted: str = ADMITTED,
        runtime_sockets: str = SOCKETS,
        notify: str = NOTIFY,
    ) -> None:
        self._measurements = measurements
        self._cgroups = cgroups
        self._logs = logs
        self._without_tpm = without_tpm
        self._admitted_path = admitted
        self._sockets = runtime_sockets
        self._notify = notify
        self._listeners: dict[str, socket] = {}
        self._mounted: dict[str, str] = {}

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

    def spawn(self, unit: Unit, gpu: Record | None) -> tuple[int, int]:
        """Start ``unit``; returns its pid and start time.

        Raises RefusedError when something may not be used, OSError when the system cannot.
        """
        self._demand_tpm(unit)
        opened: list[int] = []
        output = group = -1
        try:
            environment = self._environment(unit, gpu)
            if unit.provides:
                opened.append(os.dup(self._listener(unit).fileno()))
                environment["LISTEN_FDS"] = "1"
            for name, required in _both(unit.models, unit.optional_models):
                self._hand_over(name, required, opened, environment, unit)
            for name, required in _both(unit.extensions, unit.optional_extensions):
                self._extend(name, required, environment, unit)
            directory = self._bundle(unit) if unit.bundle else "/"
            self._demand_tpm(unit)  # it may have been lost over these very measurements
            procs = self._cgroups.create(
                unit.name,
                memory_max=unit.memory_max,
                pids_max=unit.pids_max,
                cpu_weight=unit.cpu_weight,
            )
            group = os.open(os.path.dirname(procs), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            output = self._logs.pipe(unit.name)
            child = process.Child(
                [os.path.join(directory, unit.exec[0]), *unit.exec[1:]],
                environment,
                output=output,
                cgroup=group,
                descriptors=opened,
                directory=directory,
                user=unit.user,
            )
            pid = process.spawn(child)
            return pid, process.start_time(pid)
        finally:
            for descriptor in (*opened, output, group):
                if descriptor >= 0:
                    os.close(descriptor)

    def _demand_tpm(self, unit: Unit) -> None:
        missing = unit.measurement == plan.REQUIRED and not self._measurements.has_tpm
        if missing and self._without_tpm == "refuse":
            raise RefusedError(
                f"must be measured, and {self._measurements.tpm_state} "
                "(machine policy without_tpm = refuse)"
            )

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

    def _environment(self, unit: Unit, gpu: Record | None) -> dict[str, str]:
        environment = {
            "PATH": _PATH,
            "HOME": "/",
            "LANG": "C.UTF-8",
            "AINOS_UNIT": unit.name,
            **unit.environment,
        }
        if unit.type == plan.NOTIFY:
            environment["NOTIFY_SOCKET"] = self._notify
        if gpu is not None:
            given = gpu.get("environment")
            environment.update(given if isinstance(given, dict) else {})
        elif unit.gpu_profile:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # not one that belongs to somebody else
        return environment

    def _listener(self, unit: Unit) -> socket:
        """The unit's listening socket, kept over its restarts, so that no client is lost."""
        if unit.name not in self._listeners:
            path = f"{self._sockets}/{unit.name}"
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
            listener.bind(path)
            os.chmod(path, 0o600)
            listener.listen(_BACKLOG)
            self._listeners[unit.name] = listener
        return self._listeners[unit.name]

    def _hand_over(
        self,
        name: str,
        required: bool,
        opened: list[int],
        environment: dict[str, str],
        unit: Unit,
    ) -> None:
        try:
            descriptor, event = self._open_stored(name, phases.MODEL, phases.POLICY)
        except RefusedError as error:
            self._do_without(f"model {name}", required, unit, error)
            return
        opened.append(descriptor)
        self._measurements.add(event)
        variable = "AINOS_MODEL_" + name.upper().replace("-", "_")
        target = LISTEN_FD + len(opened) - 1
        environment[variable] = f"/proc/self/fd/{target}"

    def _extend(self, name: str, required: bool, environment: dict[str, str], unit: Unit) -> None:
        """Mount an extension and say where: every agent that names it sees the same one."""
        try:
            descriptor, event = self._open_stored(name, phases.EXTENSION)
            directory = self._mount(descriptor, event, f"{EXTENSIONS}/{name}")
        except (RefusedError, OSError) as error:
            self._do_without(f"extension {name}", required, unit, error)
            return
        environment["AINOS_EXTENSION_" + name.upper().replace("-", "_")] = directory

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

    def _bundle(self, unit: Unit) -> str:
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
            return directory
        finally:
            os.close(descriptor)


def _both(required: Sequence[str], optional: Sequence[str]) -> list[tuple[str, bool]]:
    return [(name, True) for name in required] + [(name, False) for name in optional]


def _open(path: str) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO must not block us
    try:
        return os.open(path, flags)
    except OSError as error:
        raise MeasurementError(f"{path} cannot be opened: {error.strerror}") from error
