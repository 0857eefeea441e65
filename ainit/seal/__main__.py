"""``python3 -m ainit.seal`` answers ``org.ainos.Seal``, and runs errands.

``unlock DEVICE`` is PID 1's, before it mounts the state; ``reset`` gives the state up; ``commit``
is that of boot confirmation. Each prints what was done, or why not, and exits with 1 then.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..errors import AinosError
from . import report


def main(arguments: Sequence[str]) -> int:
    """The command."""
    try:
        match arguments:
            case ["unlock", device]:
                return _unlock(device)
            case ["commit"]:
                from .commit import commit

                print(commit(report.read()))
            case ["reset"]:
                from .reset import reset

                print(reset(report.read().device))
            case []:
                from .service import service

                service().serve()
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (AinosError, OSError) as error:
        print(f"seal: {error}", file=sys.stderr)
        return 1
    return 0


def _unlock(device: str) -> int:
    from .unlock import unlock

    found = unlock(device)
    found.write()
    print(*found.findings, *found.notes, sep="\n")
    return 0 if found.state == report.OPEN else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
