"""The sandbox of each agent, made when it starts: what PID 1 knows of it becomes `Facts`.

Whoever cannot be locked in as its profile says is refused, with the reason; there is no policy that
lets it start with less. Nothing of this is kept over PID 1's re-execution: a running agent is held
by the kernel. Leaves out what the steps are: see ``ainit.sandbox``.
"""

from __future__ import annotations

import os

from ..constants import LISTEN_FD, SANDBOX_ROOT
from ..errors import RefusedError
from ..policy import plan, sandbox, seccomp
from ..sandbox import features
from ..sandbox.compose import compose
from ..sandbox.facts import Facts, device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..linux.child import Child
    from ..policy.plan import Record, Unit
    from ..policy.sandbox import Profile
    from ..sandbox.compose import Sandbox


class Confinement:
    """``read`` asks the kernel what it has, once; ``root`` is where a sandbox makes its root."""

    def __init__(
        self,
        read: Callable[[], features.Features] = features.read,
        root: str = SANDBOX_ROOT,
    ) -> None:
        self._read = read
        self._root = root
        self._features: features.Features | None = None
        self._programs: dict[tuple[str, ...], bytes] = {}

    def lock(
        self,
        unit: Unit,
        child: Child,
        gpu: Record | None,
        *,
        bundle: str,
        extensions: Sequence[str] = (),
        directories: Sequence[str] = (),
        files: int = 0,
    ) -> None:
        """Put a child of an agent into its sandbox. The directories are as in `Facts`; ``files`` is
        how many of its descriptors, the last ones, are models of one file. Nothing for a service or
        a job. Raises RefusedError.
        """
        profile = sandbox.of(unit)
        if profile is None or unit.kind != plan.AGENT:
            return  # who asks for a job cannot say yet what files and network it needs
        free = LISTEN_FD + len(child.descriptors)
        notify = child.environment.get("NOTIFY_SOCKET")
        try:
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
                sockets=[notify] if notify else [],
                devices=[device(path) for path in _devices(profile, gpu)],
            )
            child.sandbox = self._make(profile, facts)
        except (OSError, ValueError) as error:
            raise RefusedError(f"cannot be sandboxed: {error}") from error
        child.capabilities = profile.capabilities
        child.limits = {name: limit for name, limit in child.limits.items() if name != "core"}

    def _make(self, profile: Profile, facts: Facts) -> Sandbox:
        if self._features is None:
            self._features = self._read()
        if missing := features.missing(profile, self._features):
            raise RefusedError(f"cannot be sandboxed: {'; '.join(missing)}")
        program = self._programs.get(profile.calls)
        if program is None:
            program = seccomp.program(profile.calls, os.uname().machine)
            self._programs[profile.calls] = program
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        return compose(profile, facts, self._features, program)


def _devices(profile: Profile, gpu: Record | None) -> list[str]:
    """The nodes of the GPU instance that it was given, as whoever gave it says."""
    given = gpu.get("devices") if gpu is not None and profile.has_gpu else None
    return [str(path) for path in given] if isinstance(given, list) else []
