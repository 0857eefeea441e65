"""What the services that a table of the machine configuration starts have in common.

sys.exit(run("remote", serve))
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..errors import AinosError, ConfigError


def run(name: str, serve: Callable[[], None]) -> int:
    """Serve; the status to exit with. Such a service is not to end: it is 1, and what went wrong is
    told in lines that begin with ``name``.
    """
    try:
        serve()
    except ConfigError as error:
        for finding in error.findings:
            print(f"{name}: {finding}", file=sys.stderr)
    except (AinosError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
    return 1
