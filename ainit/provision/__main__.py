"""``python3 -m ainit.provision``: what PID 1 has done, and does not do itself.

``partition DISK`` lets the state partition grow, before it is opened; ``grow`` its file system, in
the unit that is started for it. ``stick`` takes in the configuration that a stick brings. ``mark
WHAT…`` has the next boot reset the state but what is named, which ``wipe`` does then. Each prints
what was done, or why not, and exits with 1 then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .. import constants
from ..child.client import Client
from ..errors import AinosError
from ..linux import kmsg
from . import grow, reset, stick

_PATIENCE_S = 60.0  # PID 1 has a child compile a configuration


def main(arguments: Sequence[str]) -> int:
    """The command."""
    try:
        match arguments:
            case ["partition", disk]:
                print(grow.partition(disk))
            case ["grow"]:
                with open(constants.GROW, encoding="utf-8") as file:
                    device = file.read().strip()
                os.unlink(constants.GROW)  # or it would start the unit once more
                print(grow.file_system(device, constants.STATE))
            case ["stick"]:
                with Client(constants.CONTROL, _PATIENCE_S) as client:
                    said = stick.adopt(client)
                    kmsg.log(said)
                    print(said)
            case ["mark", *keep]:
                reset.mark(constants.STATE, keep)
                print("the next boot resets the state")
            case ["wipe"]:
                print(reset.wipe(constants.STATE))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (AinosError, OSError) as error:
        print(f"provision: {error}", file=sys.stderr)
        if [*arguments] == ["stick"]:
            kmsg.log(str(error), kmsg.WARNING)  # nobody but who stands there can ask
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
