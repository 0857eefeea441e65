"""``python3 -m ainit.identity``, started by PID 1 when an agent has a certificate.

AINOS_SETTINGS   [identity] of the machine configuration as JSON, and whose certificates to issue
"""

from __future__ import annotations

import os
import sys

from ..child import service
from ..errors import ConfigError, Finding
from ..policy import identity
from ..policy.plan import SETTINGS
from ..wire.codec import loads


def serve() -> None:
    """Serve until something goes wrong. Raises AinosError and OSError."""
    try:
        settings = identity.from_record(loads(os.environ.get(SETTINGS, "null")))
    except (KeyError, ValueError) as error:
        text = f"{SETTINGS} holds no settings: no agent has a certificate"
        raise ConfigError([Finding("environment", 0, text)]) from error
    from .service import Identity  # and with it two seconds on an emulated processor

    issuing = Identity(settings)
    issuing.tick()  # whoever starts after this finds a certificate, if there is to be one
    issuing.service().serve(tick=issuing.tick)


def main() -> int:
    """Run the service."""
    return service.run("identity", serve)


if __name__ == "__main__":
    sys.exit(main())
