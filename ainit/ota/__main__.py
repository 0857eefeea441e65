"""Confirm this boot: the machine is healthy, so the running entry gets its tries back.

Runs once, as a unit of the stage ``healthy``. With ``--condemn``, which PID 1 runs for a unit that
says so when its tries are used up, the entry loses its tries instead, and the next boot takes
another. A machine that was not started by systemd-boot has nothing to confirm. A release that is on
trial is not confirmed here: ``serve``, the service ``org.ainos.Update``, does that in time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .. import __version__, constants
from ..child import esp
from ..errors import AinosError
from ..linux import efi
from . import boot, decide
from .esp_files import Esp
from .history import Records

# Raises the floor of a state that is sealed, now that this image has shown that it works.
_COMMIT = ("/usr/bin/python3", "-I", "-m", "ainit.seal", "commit")
_NOTHING = "not started by a counted entry: nothing to confirm"


def on_trial(directory: str = constants.UPDATE) -> str:
    """The version that runs, if it has to show first that it works; else nothing."""
    state = Records(directory).state()
    return __version__ if decide.meaning(state, __version__, "") == decide.TRIAL else ""


def main(arguments: Sequence[str]) -> int:
    """The command."""
    if list(arguments) == ["serve"]:
        from ..child.service import run  # confirmation has no use for what a service needs
        from .service import serve
        from .world import flow

        return run("update", lambda: serve(flow()))
    condemn = list(arguments) == ["--condemn"]
    if not condemn and (version := on_trial()):
        print(f"{version} is on trial: `ainitctl update status`", flush=True)
        return 0
    path, selected = (
        efi.loader_text(f"Loader{name}") for name in ("BootCountPath", "EntrySelected")
    )
    if not path and (condemn or not selected):
        print(_NOTHING)
        return 0
    what = "condemned" if condemn else "confirmed"
    try:
        part = Esp(esp.device())
        if condemn:
            name = boot.condemn(part, path)
        else:
            name = boot.confirm(part, path, selected, __version__)
        print(f"{what}: {name}" if name else _NOTHING, flush=True)
        if name and not condemn and os.path.exists(constants.SEAL):
            os.execv(_COMMIT[0], _COMMIT)
    except (AinosError, OSError) as error:
        print(f"the boot could not be {what}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
