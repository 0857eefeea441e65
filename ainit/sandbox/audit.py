"""Audit mode: a second filter of system calls, whose listener is handed over to the service.

It comes before the agent's own filter, which would not let another one be added, and denies
nothing: of two filters the kernel does what the stricter one says. From here on the child waits at
each call that it tells of until the service has let it go on, first of all at its own filter. Which
calls those are is ``policy.watched``; without an agent in audit mode that is not loaded.
"""

from __future__ import annotations

import os

from ..linux import native, seccomp
from ..policy import grants
from ..wire.codec import dumps
from .handover import hand_over
from .operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.sandbox import Profile
    from .facts import Facts

AUDIT = "audit"  # the mechanism, and the service's channel in ``Facts``


def operations(profile: Profile, facts: Facts, is_probe: bool = False) -> list[Operation]:
    """The steps. The service is told what the agent may, and whether this is a probe of it.

    Raises ValueError when the profile is too long to be told.
    """
    from ..policy import watched

    program = watched.program(profile.has_gpu, os.uname().machine)
    record = {
        "agent": facts.name,
        "probe": is_probe,
        "gpu": profile.has_gpu,
        "grants": grants.of(profile),
    }
    length = len(program) // seccomp.INSTRUCTION_BYTES
    listen = (native.SECCOMP, seccomp.SET_MODE_FILTER, seccomp.NEW_LISTENER, (length, program))
    words = "the audit service is told of them"
    told = dumps(record).encode("ascii")
    return [
        Operation(AUDIT, "system calls are told of", (listen,)),
        hand_over(AUDIT, words, facts.channel(AUDIT), [facts.free], told),
        Operation(AUDIT, "and nobody else is", ((native.CLOSE, facts.free),)),
    ]
