"""``python3 -m ainit.provision``: what PID 1 has done, and does not do itself.

``partition DISK`` lets the state partition grow, before it is opened; ``grow`` its file system, in
the unit that is started for it. Both print what was done, or why not, and exit with 1 then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .. import constants
from ..errors import AinosError
from . import grow


def main(arguments: Sequence[str]) -> int:
    """The command."""
    try:
        match arguments:
            case ["partition", disk]:
                print(grow.partition(disk))
            case ["grow"]:
                with open(constants.GROW, encoding="utf-8") as file:
                    device = file.read().strip()
                print(grow.file_system(device, constants.STATE))
                os.unlink(constants.GROW)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (AinosError, OSError) as error:
        print(f"provision: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
