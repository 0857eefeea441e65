"""Once a boot: take what the kernel and the last boot left, keep it, and only then let it go.

found = Collector(Paths(...)).collect(boot_id, now=time.time())
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import logs, pstore
from . import marker as markers
from .archive import CONSOLE, LOG, Archive
from .evidence import Kind, judge
from .marker import Marker
from .pstore import Dump, File
from .record import Crash, make_id

# Bounds of what is read.
FILES, FILE_BYTES = 256, 256 << 10
CONSOLE_BYTES = 512 << 10

# Clocks are set while a machine runs, by hours where the chip keeps local time.
CLOCK_SLACK_S = 26 * 3600.0
_CARDRESET = 0x20

ENDED_WITHOUT_SHUTDOWN = "ended without shutdown"
RESET_BY_WATCHDOG = "ended without shutdown: the watchdog reset the machine"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are. ``archive`` also holds the mark of the running boot; ``bootstatus`` is the
    watchdog's own word on why the machine started."""

    archive: str
    logs: str
    pstore: str
    bootstatus: str

    @property
    def marker(self) -> str:
        """The mark of a boot that is not over."""
        return f"{self.archive}/running"


@dataclass(slots=True)
class Found:
    """What a boot found. ``problem`` is why nothing could be kept, or empty.

    ``loose`` are crashes that could not be kept, with their files; their evidence stays where it
    is for another boot.
    """

    problem: str = ""
    loose: dict[str, tuple[Crash, dict[str, bytes]]] = field(default_factory=dict)
    kept: list[Crash] = field(default_factory=list)


class Collector:
    """One collection."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._archive = Archive(paths.archive)

    def collect(self, boot_id: str, now: float) -> Found:
        """Keep what there is, then leave the mark of this boot. Raises nothing: what the disk does
        not take is in the result."""
        found = Found()
        files = read_files(self._paths.pstore)
        try:
            self._archive.open()
            last = markers.read(self._paths.marker)
            previous = last if last is not None and last.boot_id != boot_id else None
            known = self._archive.list()
        except OSError as error:
            found.problem = _why(error)
            previous, known = None, []
        self._known = {source for crash in known for source in crash.sources}
        self._boots = {crash.boot_id for crash in known}
        for crash, contents, files_of_it in self._crashes(files, previous):
            self._keep(found, crash, contents, files_of_it)
        if not found.problem:
            self._let_go(file for file in files if pstore.is_console(file))
            try:
                self._archive.prune()
                markers.write(self._paths.marker, Marker(boot_id, now, os.uname().release))
            except OSError as error:
                found.problem = _why(error)
        return found

    def _keep(
        self, found: Found, crash: Crash, contents: dict[str, bytes], files: Iterable[File]
    ) -> None:
        is_kept = bool(crash.sources) and set(crash.sources) <= self._known
        if not is_kept:
            try:
                if found.problem:
                    raise OSError(found.problem)
                found.kept.append(self._archive.add(crash, contents))
            except OSError as error:
                found.problem = found.problem or _why(error)
                found.loose[crash.id] = crash, contents
                return
        self._let_go(files)

    def _let_go(self, files: Iterable[File]) -> None:
        """Free the firmware's memory."""
        for file in files:
            try:
                os.unlink(f"{self._paths.pstore}/{file.name}")
            except FileNotFoundError:
                pass
            except OSError as error:
                print(f"pstore keeps {file.name}: {error.strerror}", flush=True)

    def _crashes(
        self, files: list[File], previous: Marker | None
    ) -> list[tuple[Crash, dict[str, bytes], list[File]]]:
        """Every crash with what is written down of it, and the files it was made from."""
        dumps = pstore.assemble(files)
        # Reserved memory shows the last console after every reset, an orderly one, too.
        consoles = [dump for dump in dumps if dump.reason == pstore.CONSOLE]
        groups = pstore.together([dump for dump in dumps if dump.reason != pstore.CONSOLE])
        # The last dump is of the marked boot, unless it was there before the mark; the others are
        # of boots that ended before they could set theirs.
        marked = (
            bool(groups)
            and previous is not None
            and groups[-1][-1].time >= previous.time - CLOCK_SLACK_S
        )
        made = [self._dumped(group, None, []) for group in groups[: len(groups) - marked]]
        if marked:
            made.append(self._dumped(groups[-1], previous, consoles))
        elif previous is not None and not self._is_told(previous):
            made.append(self._silent(previous, consoles))
        return made

    def _dumped(
        self, dumps: list[Dump], previous: Marker | None, consoles: list[Dump]
    ) -> tuple[Crash, dict[str, bytes], list[File]]:
        """The crash that the kernel wrote a dump of; ``previous`` when its boot is known."""
        text = pstore.join(dumps)
        said = judge(text)
        files = [file for dump in (*dumps, *consoles) for file in dump.files]
        boot_id = previous.boot_id if previous else ""
        crash = Crash(
            id=make_id(dumps[-1].time, boot_id),
            kind=said.kind,
            time=dumps[-1].time,
            boot_id=boot_id,
            kernel=said.kernel or (previous.kernel if previous else ""),
            cause=said.cause or f"the kernel left a record without a cause ({dumps[-1].reason})",
            faults=said.faults,
            incomplete=any(dump.missing for dump in dumps) or len(text) > CONSOLE_BYTES,
            sources=tuple(sorted(file.source for file in files)),
        )
        contents = {CONSOLE: _end_of(text)}
        for dump in dumps:
            contents |= {f"raw-{file.name}": file.data for file in dump.unread}
        if previous:
            contents[LOG] = logs.last_lines(self._paths.logs, previous.boot_id)
        return crash, contents, files

    def _is_told(self, previous: Marker) -> bool:
        """Whether this end was kept already, by a start that was cut off before it set its mark."""
        return previous.boot_id != "" and previous.boot_id in self._boots

    def _silent(
        self, previous: Marker, consoles: list[Dump]
    ) -> tuple[Crash, dict[str, bytes], list[File]]:
        """The crash of a boot of which the kernel wrote no dump."""
        text = pstore.join(consoles)
        said = judge(text)
        was_watchdog = watchdog_has_reset(self._paths.bootstatus)
        time = max(previous.time, logs.last_change(self._paths.logs))
        files = [file for dump in consoles for file in dump.files]
        crash = Crash(
            id=make_id(time, previous.boot_id),
            kind=Kind.WATCHDOG if was_watchdog else said.kind,
            time=time,
            boot_id=previous.boot_id,
            kernel=said.kernel or previous.kernel,
            cause=RESET_BY_WATCHDOG if was_watchdog else said.cause or ENDED_WITHOUT_SHUTDOWN,
            faults=said.faults,
            sources=tuple(sorted(file.source for file in files)),
        )
        contents = {
            CONSOLE: _end_of(text),
            LOG: logs.last_lines(self._paths.logs, previous.boot_id),
        }
        return crash, contents, files


def read_files(directory: str) -> list[File]:
    """What pstore holds, bounded; a file longer than the bound is represented by its end."""
    found: list[File] = []
    for path, changed in logs.regular_files(directory)[:FILES]:
        if (data := logs.read_end(path, FILE_BYTES)) is not None:
            found.append(File(os.path.basename(path), changed, data))
    return found


def watchdog_has_reset(path: str) -> bool:
    """Whether the watchdog says that it reset the machine (WDIOF_CARDRESET)."""
    try:
        with open(path, encoding="ascii") as file:
            return bool(int(file.read(32)) & _CARDRESET)
    except (OSError, ValueError):
        return False


def _end_of(text: str) -> bytes:
    return text.encode("utf-8", "replace")[-CONSOLE_BYTES:]


def _why(error: OSError) -> str:
    return error.strerror or str(error)
