"""A machine is asked to become as it was new, and does so at its next boot, before anything else.

A child does both. Where it cannot finish, the state is as good as none: the machine comes up with
what is meant for that, and the boot after that begins anew.
"""

from __future__ import annotations

import os

from .. import constants
from ..linux import kmsg, libc
from ..wire import protocol
from ..wire.protocol import INVALID_PARAMETER, VarlinkError
from . import errand
from .control import INTERFACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..wire.protocol import Call
    from .control import Client
    from .init import Init

_PYTHON = ("/usr/bin/python3", "-I", "-m")
_SECONDS = 60.0
_WIPE_SECONDS = 240.0  # a watchdog that the firmware armed waits for 300


def ask(init: Init, client: Client, call: Call) -> None:
    """The method Reset: the answer follows when a child has made the mark."""
    keep = call.parameters.get("keep") or []
    if not isinstance(keep, list) or not all(isinstance(name, str) for name in keep):
        raise VarlinkError(INVALID_PARAMETER, {"parameter": "keep"})
    control, name = init.control, init.methods.hostname
    if call.text("name") != name:
        raise _refused(f"this machine is called {name}")
    is_sealed = os.path.exists(constants.SEAL)
    if is_sealed and keep:
        raise _refused(f"of a sealed state nothing can be kept: {', '.join(keep)}")
    argv = ["ainit.seal", "reset"] if is_sealed else ["ainit.provision", "mark", *keep]

    def done(status: int, said: str) -> None:
        kmsg.log(f"reset: {said}", kmsg.WARNING)
        if status:
            control.send(client, protocol.error(f"{INTERFACE}.Refused", {"reason": said}))
        else:
            control.send(client, protocol.reply({"note": said}))
        control.finish(client)

    client.pending = True
    try:
        init.jobs.run([*_PYTHON, *argv], _SECONDS, done)
    except OSError as error:
        client.pending = False
        raise _refused(str(error)) from error


def finish() -> str:
    """Wipe the state that is mounted, if that was asked for; returns why it is not done."""
    if not os.path.exists(constants.RESET):
        return ""
    argv = [*_PYTHON, "ainit.provision", "wipe"]
    status, said = errand.run(argv, {"PATH": "/usr/bin"}, _WIPE_SECONDS)
    kmsg.log(said or "the reset did not end in time", kmsg.WARNING)
    if not status:
        return ""
    libc.unmount(constants.STATE, libc.MNT_DETACH)
    return f"the reset that was begun is not done: {said or 'it did not end in time'}"


def _refused(reason: str) -> VarlinkError:
    return VarlinkError(f"{INTERFACE}.Refused", {"reason": reason})
