"""The sandbox of each agent, made when it starts: what PID 1 knows of it becomes `Facts`.

Whoever cannot be locked in as its profile says is refused, with the reason; there is no policy that
lets it start with less. Nothing of this is kept over PID 1's re-execution: a running agent is held
by the kernel. Leaves out what the steps are: see ``ainit.sandbox``.
"""

from __future__ import annotations

import os
import stat

from ..constants import CONTROL, EGRESS, IDENTITIES, LISTEN_FD, SANDBOX_ROOT
from ..errors import RefusedError, UnavailableError
from ..linux import bpf
from ..policy import seccomp
from ..sandbox import endpoints, features, handover
from ..sandbox.audit import AUDIT, operations
from ..sandbox.compose import compose
from ..sandbox.facts import Device, Facts
from .overlays import Overlays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..linux.child import Child
    from ..policy.plan import Record, Unit
    from ..policy.sandbox import Profile
    from ..sandbox.compose import Sandbox

_NODE = ("path", "major", "minor", "mode")  # DeviceNode of org.ainos.Gpu


class Confinement:
    """``read`` asks the kernel what it has, once; ``root`` is where a sandbox makes its root;
    ``control`` is the socket of those that may call others, ``egress`` that of the service that
    connects agents to the hosts they list; ``filter_devices`` puts a program on a control group;
    ``overlays`` knows what an agent may, and whether it is watched.
    """

    def __init__(
        self,
        read: Callable[[], features.Features] = features.read,
        root: str = SANDBOX_ROOT,
        control: str = CONTROL,
        egress: str = EGRESS,
        filter_devices: Callable[[int, bytes], None] | None = None,
        overlays: Overlays | None = None,
    ) -> None:
        self._egress = egress
        self._overlays = overlays or Overlays()
        self._read = read
        self._filter_devices = filter_devices or bpf.filter_devices
        self._root = root
        self._control = control
        self._features: features.Features | None = None
        self._programs: dict[tuple[str, ...], bytes] = {}

    def lock(  # noqa: PLR0913 - each is one thing that a child is given
        self,
        unit: Unit,
        child: Child,
        gpu: Record | None,
        opened: list[int],
        *,
        bundle: str,
        extensions: Sequence[str] = (),
        directories: Sequence[str] = (),
        files: int = 0,
        is_probe: bool = False,
    ) -> None:
        """Put a child of an agent into its sandbox, and its control group under what that says of
        devices. The directories are as in `Facts`; ``files`` is how many of its descriptors, the
        last ones, are models of one file. What the child is to have besides is added to ``opened``,
        to be closed once it was started. Nothing for a unit that has no profile. Raises
        RefusedError; OSError while it has no certificate and is to have one, or no filter.
        """
        profile = self._overlays.profile(unit)
        if profile is None:
            return
        identity = f"{IDENTITIES}/{unit.name}" if profile.certificate else ""
        if identity and not os.path.exists(f"{identity}/agent.pem"):
            raise OSError("it has no certificate; `ainitctl identity` says why")
        free = LISTEN_FD + len(child.descriptors)
        sockets = [*filter(None, [child.environment.get("NOTIFY_SOCKET")])]
        if profile.agents:
            sockets.append(self._control)
        channels: dict[str, int] = {}
        try:
            if profile.endpoints:
                channels[endpoints.EGRESS] = self._connect(endpoints.EGRESS, self._egress, opened)
            if self._overlays.is_audited(unit):
                channels[AUDIT] = self._connect(AUDIT, self._overlays.service, opened)
            facts = Facts(
                unit.name,
                child.user,
                group=child.group,
                free=free,
                root=self._root,
                bundle=bundle,
                extensions=extensions,
                directories=directories,
                files=range(free - files, free),
                program=child.argv[0],
                sockets=sockets,
                devices=_devices(gpu) if profile.has_gpu and gpu is not None else (),
                identity=identity,
                channels=channels,
            )
            made = self._make(profile, facts, is_probe)
        except (OSError, ValueError) as error:
            raise RefusedError(f"cannot be sandboxed: {error}") from error
        try:
            self._filter_devices(child.cgroup, made.devices)
        except UnavailableError as error:
            raise RefusedError(f"cannot be sandboxed: {error}") from error
        child.sandbox = made
        child.capabilities = profile.capabilities
        child.limits = {name: limit for name, limit in child.limits.items() if name != "core"}

    def _connect(self, service: str, path: str, opened: list[int]) -> int:
        try:
            opened.append(channel := handover.connect(path))
        except OSError as error:
            raise RefusedError(
                f"cannot be sandboxed: the service {service} cannot be reached: {error}"
            ) from error
        return channel

    def _make(self, profile: Profile, facts: Facts, is_probe: bool) -> Sandbox:
        if self._features is None:
            self._features = self._read()
        if missing := features.missing(profile, self._features):
            raise RefusedError(f"cannot be sandboxed: {'; '.join(missing)}")
        program = self._programs.get(profile.calls)
        if program is None:
            program = seccomp.program(profile.calls, os.uname().machine)
            self._programs[profile.calls] = program
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        audit = operations(profile, facts, is_probe) if AUDIT in facts.channels else ()
        return compose(profile, facts, self._features, program, audit)


def _devices(gpu: Record) -> list[Device]:
    """The nodes of a GPU instance, as whoever gave it says. Raises ValueError for what are none."""
    found = []
    given = gpu.get("devices", [])
    for each in given if isinstance(given, list) else [given]:
        path, *numbers = (each.get(key) for key in _NODE) if isinstance(each, dict) else (None,)
        major, minor, mode = numbers or (None, None, None)
        if not (isinstance(path, str) and _is_node(path)):
            raise ValueError(f"{path!r} is no name of a GPU's device")
        if not (isinstance(major, int) and isinstance(minor, int) and isinstance(mode, int)):
            raise ValueError(f"/dev/{path} has no numbers")
        number = os.makedev(major, minor)
        found.append(Device(f"/dev/{path}", stat.S_IFCHR | mode & 0o666, number))
    return found


def _is_node(path: str) -> bool:
    """Whether it is one that NVIDIA's driver would make: no other device is given as a GPU's."""
    return path.startswith("nvidia") and ".." not in path
