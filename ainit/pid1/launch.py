"""The only path from a unit to a running process: measure what it uses, then fork into its cgroup.

Descriptors are handed over in this order: its listening sockets, what it stored (both counted in
LISTEN_FDS, named in LISTEN_FDNAMES), its models of one file each. What cannot be measured raises
RefusedError, and nothing is started.
"""

from __future__ import annotations

import os

from ..constants import BUNDLES, NOTIFY
from ..errors import RefusedError
from ..linux import files, process, users
from ..policy import plan
from ..policy.resources import placed
from .confinement import Confinement
from .overlays import Overlays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..linux.cgroup import Tree
    from ..policy.plan import Record, Unit
    from .artefacts import Artefacts
    from .enforcement import Enforcement
    from .journal import Journal
    from .logs import Logs
    from .measure import Measurements

_PATH = "/usr/bin:/usr/sbin"

Named = tuple[str, int]  # a name for LISTEN_FDNAMES, and a descriptor


class Launcher:
    """Starts units. ``machine`` is the machine configuration, of which ``without_tpm`` and
    ``without_enforcement`` matter here: each ``refuse``, the default, or ``start``.

    ``inherited`` gives the descriptors that PID 1 holds for a unit, ``prepare`` adds to its
    environment what was made for this incarnation.
    """

    def __init__(  # noqa: PLR0913 - PID 1 has one of each
        self,
        measurements: Measurements,
        cgroups: Tree,
        logs: Logs,
        journal: Journal,
        artefacts: Artefacts,
        enforcement: Enforcement,
        *,
        machine: Mapping[str, object],
        notify: str = NOTIFY,
        confinement: Confinement | None = None,
    ) -> None:
        self._measurements = measurements
        self._cgroups = cgroups
        self._logs = logs
        self._journal = journal
        self._artefacts = artefacts
        self._enforcement = enforcement
        self._machine = machine
        self._notify = notify
        self._confinement = confinement or Confinement(overlays=Overlays(measurements))
        self.inherited: Sequence[Callable[[Unit], Sequence[Named]]] = ()
        self.prepare: Sequence[Callable[[Unit, dict[str, str]], None]] = ()

    def spawn(self, unit: Unit, gpu: Record | None) -> tuple[int, int]:
        """Start ``unit``; returns its pid and start time.

        Raises RefusedError when something may not be used, OSError when the system cannot.
        """
        self._demand_tpm(unit)
        opened: list[int] = []  # by this call, and closed by it
        try:
            return self._spawn(unit, gpu, opened)
        finally:
            files.close(opened)

    def _spawn(self, unit: Unit, gpu: Record | None, opened: list[int]) -> tuple[int, int]:
        descriptors: list[int] = []
        environment = self._environment(unit, gpu)
        self._inherit(unit, descriptors, environment)
        inherited = len(descriptors)
        digests, given = self._artefacts.models(unit, descriptors, opened, environment)
        measured = self._artefacts.extensions(unit, environment)
        directory = self._artefacts.bundle(unit) if unit.bundle else ""
        for prepare in self.prepare:
            prepare(unit, environment)
        opened.append(group := self._group(unit, gpu))
        opened.append(output := self._logs.pipe(unit.name))
        credentials = [*filter(None, [environment.get("CREDENTIALS_DIRECTORY")])]
        if unit.kind in plan.CONFINED:
            mounted = [*measured, *credentials, *filter(None, [directory])]
            self._confine(unit, group, digests, mounted)
        child = self._child(unit, directory, environment, output)
        child.cgroup, child.descriptors = group, descriptors
        self._confinement.lock(
            unit,
            child,
            gpu,
            opened,
            bundle=directory,
            extensions=measured,
            directories=[*given, *credentials],
            files=len(descriptors) - inherited,
        )
        self._demand_tpm(unit)  # it may have been lost over these very measurements
        pid = process.spawn(child)
        return pid, process.start_time(pid)

    def _group(self, unit: Unit, gpu: Record | None) -> int:
        """Its control group. That it is near its GPU is a wish: without that it starts, too."""
        near = placed(unit, gpu)
        if near is not unit:
            try:
                return self._cgroups.prepare_unit(near)
            except OSError as error:
                self._logs.say(unit.name, f"is not kept near its GPU: {error}")
        return self._cgroups.prepare_unit(unit)

    def probe(self, unit: Unit, argv: Sequence[str], gpu: Record | None = None) -> int:
        """Start a probe of ``unit`` beside it: in its cgroup, as its user, and for an agent in a
        sandbox like its own. Raises OSError.
        """
        opened: list[int] = []
        try:
            opened.append(group := self._group(unit, gpu))
            opened.append(output := self._logs.pipe(unit.name))
            child = self._child(unit, "", self._environment(unit, None), output)
            child.argv, child.cgroup, child.pid_cell = argv, group, 0
            bundle = f"{BUNDLES}/{unit.name}" if unit.bundle else ""
            self._confinement.lock(unit, child, gpu, opened, bundle=bundle, is_probe=True)
            return process.spawn(child)
        except RefusedError as error:
            raise OSError(str(error)) from error
        finally:
            files.close(opened)

    def _child(
        self, unit: Unit, directory: str, environment: dict[str, str], output: int
    ) -> process.Child:
        user, group = unit.user, None
        if unit.user_name:
            user, group, home = users.user(unit.user_name)
            environment.setdefault("USER", unit.user_name)
            environment["HOME"] = unit.environment.get("HOME", home)
        if unit.group:
            group = users.group(unit.group)
        program = unit.exec[0]
        return process.Child(
            [os.path.join(directory, program) if directory else program, *unit.exec[1:]],
            environment,
            output=output,
            directory=unit.directory or directory or "/",
            user=user,
            group=group,
            groups=[users.group(name) for name in unit.groups],
            umask=unit.umask,
            limits=unit.limits,
            nice=unit.nice,
            oom_score=unit.oom_score,
            capabilities=unit.capabilities,
            pid_cell=self._journal.cell.address,
        )

    def _demand_tpm(self, unit: Unit) -> None:
        missing = unit.measurement == plan.REQUIRED and not self._measurements.has_tpm
        if missing and self._refuses("without_tpm"):
            raise RefusedError(
                f"must be measured, and {self._measurements.tpm_state} "
                "(machine policy without_tpm = refuse)"
            )

    def _confine(self, unit: Unit, group: int, digests: list[str], directories: list[str]) -> None:
        """Have the kernel deny it every file but these."""
        why = self._enforcement.hold()
        if not why:
            self._enforcement.admit(unit.name, group, digests, directories)
        elif self._refuses("without_enforcement"):
            raise RefusedError(f"{why} (machine policy without_enforcement = refuse)")
        else:
            self._logs.say(unit.name, f"starts without enforcement: {why}")

    def confine_no_more(self, unit: Unit) -> None:
        """It is down: what was measured for it is shut, and its log says what it was denied."""
        self._artefacts.forget(unit)
        if denied := self._enforcement.forget(unit.name):
            self._logs.say(unit.name, f"was denied {denied} files that were not measured for it")

    def _refuses(self, key: str) -> bool:
        return self._machine.get(key, "refuse") == "refuse"

    def _environment(self, unit: Unit, gpu: Record | None) -> dict[str, str]:
        environment = {
            "PATH": _PATH,
            "HOME": "/",
            "LANG": "C.UTF-8",
            "AINOS_UNIT": unit.name,
            **unit.environment,
        }
        speaks = unit.type == plan.NOTIFY or unit.watchdog or unit.fd_store_max
        if speaks or unit.notify_access == "all":
            environment["NOTIFY_SOCKET"] = self._notify
        if unit.watchdog:
            environment["WATCHDOG_USEC"] = str(int(unit.watchdog * 1e6))
        if gpu is not None:
            given = gpu.get("environment")
            environment.update(given if isinstance(given, dict) else {})
        elif unit.gpu_profile:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # not one that belongs to somebody else
        return environment

    def _inherit(self, unit: Unit, descriptors: list[int], environment: dict[str, str]) -> None:
        """The sockets and what the unit stored, as sd_listen_fds(3) describes it."""
        named: list[Named] = []
        for inherited in self.inherited:
            named += inherited(unit)
        if named:
            descriptors += [descriptor for _, descriptor in named]
            environment["LISTEN_FDS"] = str(len(named))
            environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in named)
