"""The ``log`` service: follows PID 1, writes the files, answers ``org.ainos.Log``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from ..child.server import Service, VarlinkError
from ..constants import CONTROL, STATE
from ..errors import UnavailableError
from ..wire import interface_text
from ..wire.protocol import INVALID_PARAMETER, Call, Message
from . import read
from .files import Files
from .follow import Follower
from .read import Boot, Boots, Query
from .writer import Writer

INTERFACE = "org.ainos.Log"
DIRECTORY = STATE + "/log"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
LINES_MAX = 10_000


class Log:
    """The service: one thread writes, another answers, and only the files are common to both."""

    def __init__(self, directory: str = DIRECTORY, control: str = CONTROL) -> None:
        boot = Path(BOOT_ID).read_text(encoding="ascii").strip()
        self._files = Files(directory, boot)
        self._boots = Boots(directory)
        try:
            self._boots.enter(Boot(boot, time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)))
        except OSError as error:
            _say(f"<4>this boot is not on the list of boots: {error}")
        self._writer = Writer(self._files, self._files.recover(), say=_say, now=time.monotonic)
        ended, self._end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._follower = Follower(control, self._writer.cursors, ended)

    def write(self) -> None:
        """Write until told to end; then what there is goes to the disk, and the process ends."""
        status = 1
        try:
            for reply in self._follower.replies(self._writer.wait):
                if reply is None:
                    self._writer.tick()
                else:
                    self._writer.take(reply)
            status = 0
        except UnavailableError as error:
            _say(f"<3>PID 1 does not answer: {error}")
        except BaseException:  # noqa: BLE001 - whatever it is, the whole service starts anew
            traceback.print_exc()
        finally:
            self._writer.sync()
            sys.stdout.flush()
            os._exit(status)

    def end(self, _number: int, _frame: object) -> None:
        """Ask ``write`` to end; a signal handler."""
        os.write(self._end, b".")

    def read(self, parameters: Message) -> dict[str, object]:
        """Answer ``Read``."""
        call = Call({"method": f"{INTERFACE}.Read", "parameters": parameters})
        name = call.optional_text("boot")
        boot = self._boots.find(name)
        if boot is None:
            raise VarlinkError(f"{INTERFACE}.NoSuchBoot", {"boot": name or "current"})
        unit = call.optional_text("unit")
        if unit is not None and ("/" in unit or "." in unit):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "unit"})
        since = parameters.get("since")
        if since is not None and (isinstance(since, bool) or not isinstance(since, int | float)):
            raise VarlinkError(INVALID_PARAMETER, {"parameter": "since"})
        query = Query(
            boot,
            unit,
            min(max(call.number("lines", 100), 0), LINES_MAX),
            float(since or 0),
            call.number("priority", read.DEBUG),
        )
        with self._files.rotating:
            return {"boot": boot, "lines": read.last(self._files.directory, query)}

    def boots(self, _parameters: Message) -> dict[str, object]:
        """Answer ``Boots``."""
        known = [{"id": boot.id, "started": boot.started} for boot in self._boots.all]
        return {"boots": known}

    def status(self, _parameters: Message) -> dict[str, object]:
        """Answer ``Status``."""
        writer = self._writer
        return {
            "bytes": self._files.bytes,
            "lost": writer.lost,
            "missed": writer.missed,
            "problem": writer.problem,
        }

    def serve(self) -> None:
        """Write and answer, until told to end."""
        signal.signal(signal.SIGTERM, self.end)
        threading.Thread(target=self.write, name="write", daemon=True).start()
        methods = {"Read": self.read, "Boots": self.boots, "Status": self.status}
        Service(interface_text(INTERFACE), methods).serve()


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Run the service."""
    try:
        log = Log()
    except OSError as error:
        print(f"<3>the logs cannot be kept: {error}", file=sys.stderr)
        return 1
    log.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
