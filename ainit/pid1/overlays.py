"""What the state partition says of agents' sandboxes: a tightening overlay, and audit mode.

Both take effect at an agent's next start. An overlay that is malformed, or gives anything that the
manifest does not, is a reason to refuse the agent, as is one that cannot be read: whoever put it
there wanted less, and what is less cannot be guessed. It is measured before it is used.
"""

from __future__ import annotations

import os

from ..constants import AUDIT, AUDITING, OVERLAYS
from ..digest import sha256
from ..errors import RefusedError
from ..policy import overlay, phases, sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.plan import Unit
    from ..policy.sandbox import Profile
    from .measure import Measurements


class Overlays:
    """``directory`` holds the overlays, ``auditing`` a file for each agent in audit mode;
    ``service`` is the socket of the audit service. Without ``measurements`` none is used.
    """

    def __init__(
        self,
        measurements: Measurements | None = None,
        directory: str = OVERLAYS,
        auditing: str = AUDITING,
        service: str = AUDIT,
    ) -> None:
        self._measurements = measurements
        self._directory = directory
        self._auditing = auditing
        self.service = service

    def profile(self, unit: Unit) -> Profile | None:
        """What a unit may from its next start on; None when it has no sandbox. Measures an overlay.

        Raises RefusedError for one that is not to be used.
        """
        bound = sandbox.of(unit)
        if bound is None or self._measurements is None:
            return bound
        path = f"{self._directory}/{unit.name}.json"
        try:
            data = _read(path)
            if data is None:
                return bound
            found = overlay.profile(unit, data)
        except (OSError, ValueError) as error:
            raise RefusedError(f"its sandbox is not to be used: {path}: {error}") from error
        digest = f"sha256:{sha256(data).hex()}"
        self._measurements.add(phases.measured(phases.SANDBOX, unit.name, digest))
        return found

    def is_audited(self, unit: Unit) -> bool:
        """Whether the audit service is told of what it does."""
        return os.path.exists(f"{self._auditing}/{unit.name}")


def _read(path: str) -> bytes | None:
    """The file, or None: there is none."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO must not block us
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    try:
        data = os.read(descriptor, overlay.BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(data) > overlay.BYTES_MAX:
        raise ValueError(f"is longer than {overlay.BYTES_MAX} bytes")
    return data
