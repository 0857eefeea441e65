"""The ``crash`` service: collects once, answers ``org.ainos.Crash``, and notes the orderly end.

Its own stop, which PID 1 asks for at shutdown, is what tells an orderly end from another: it then
removes the mark of the running boot.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from .. import constants
from ..child.notify import notify
from ..child.server import Service, VarlinkError
from ..wire import interface_text
from ..wire.protocol import INVALID_PARAMETER, Message
from . import marker
from .archive import CONSOLE, LOG, Archive
from .collect import Collector, Paths
from .held import Held
from .record import Crash

BOOT_ID = "/proc/sys/kernel/random/boot_id"
PSTORE = "/sys/fs/pstore"
BOOTSTATUS = "/sys/class/watchdog/watchdog0/bootstatus"
# Of each file in an answer; every byte may take six in JSON.
SHOWN_BYTES = 256 << 10
NO_SUCH_CRASH = "org.ainos.Crash.NoSuchCrash"


class Crashes:
    """What the service knows."""

    def __init__(self, paths: Paths, held: Held) -> None:
        self._paths = paths
        self._held = held
        self._archive = Archive(paths.archive)
        self._found = Collector(paths).collect(_boot_id(), time.time())
        for crash in self._found.kept:
            print(f"{crash.id}: {crash.kind}: {crash.cause}", flush=True)
        if self._found.problem:
            print(f"crashes are not kept: {self._found.problem}", flush=True)

    def state(self) -> str:
        """What ``STATUS=`` says."""
        problem = self._found.problem
        return f"crashes are not kept: {problem}" if problem else "crashes are kept"

    def end(self) -> None:
        """This boot ends in order. A mark that cannot be removed only says one end too many."""
        try:
            marker.remove(self._paths.marker)
        except OSError as error:
            print(f"the mark of this boot stays: {error.strerror}", file=sys.stderr, flush=True)

    def list(self, _: Message) -> dict[str, object]:
        """The answer to ``List``."""
        crashes = [crash for crash, _ in self._found.loose.values()]
        try:
            crashes += [*self._archive.list(), *self._held.pieces()]
        except OSError as error:
            self._found.problem = error.strerror or str(error)
        crashes.sort(key=lambda crash: (crash.time, crash.id), reverse=True)
        records = [crash.to_record() for crash in crashes]
        return {"crashes": records, "problem": self._found.problem}

    def show(self, parameters: Message) -> dict[str, object]:
        """The answer to ``Show``."""
        name = _text(parameters, "id")
        crash, contents = self._find(name)
        texts = {key: data.decode("utf-8", "replace") for key, data in contents.items()}
        return {
            "crash": crash.to_record(),
            "console": texts[CONSOLE],
            "log": texts[LOG],
            "files": self._held.files(name),
        }

    def file(self, parameters: Message) -> dict[str, object]:
        """The answer to ``File``."""
        name, file = (_text(parameters, key) for key in ("id", "file"))
        if file not in self._held.files(name):
            raise VarlinkError(NO_SUCH_CRASH, {"id": name})
        return {"text": self._held.read(name, file, SHOWN_BYTES).decode("utf-8", "replace")}

    def _find(self, name: str) -> tuple[Crash, dict[str, bytes]]:
        if name in self._found.loose:
            crash, contents = self._found.loose[name]
            return crash, {key: contents.get(key, b"")[-SHOWN_BYTES:] for key in (CONSOLE, LOG)}
        for kept, crashes in (
            (self._archive, self._archive.list()),
            (self._held, self._held.pieces()),
        ):
            for crash in crashes:
                if crash.id == name:
                    return crash, {key: kept.read(name, key, SHOWN_BYTES) for key in (CONSOLE, LOG)}
        raise VarlinkError(NO_SUCH_CRASH, {"id": name})


def _text(parameters: Message, key: str) -> str:
    value = parameters.get(key)
    if not isinstance(value, str):
        raise VarlinkError(INVALID_PARAMETER, {"parameter": key})
    return value


def _boot_id() -> str:
    with open(BOOT_ID, encoding="ascii") as file:
        return file.read(64).strip()


def main() -> None:
    """Run the service."""
    woken, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the pipe tells the loop
    crashes = Crashes(
        Paths(
            archive=f"{constants.STATE}/crash",
            logs=f"{constants.STATE}/log",
            pstore=PSTORE,
            bootstatus=BOOTSTATUS,
        ),
        Held(constants.QUARANTINE),
    )

    def stop() -> None:
        notify("STOPPING=1")
        crashes.end()
        sys.exit(0)

    methods = {"List": crashes.list, "Show": crashes.show, "File": crashes.file}
    service = Service(interface_text("org.ainos.Crash"), methods)
    service.watch(woken, stop)
    notify(f"STATUS={crashes.state()}")
    service.serve()


if __name__ == "__main__":
    main()
