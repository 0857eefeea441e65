"""What there is of a unit to see while it stands still: read once, and kept. PID 1 runs this.

Usage: python3 -m ainit.crash.quarantine CONTROL GROUP DIRECTORY UNIT ID

Leaves out the memory of its processes and their environment, in which there may be secrets.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping

from ..child.client import Client
from ..errors import AinosError
from ..linux import files
from ..wire.codec import dumps
from .archive import LOG
from .held import KIND, Held
from .logs import VISIBLE
from .record import Crash

BOOT_ID = "/proc/sys/kernel/random/boot_id"
CALL_SECONDS = 10.0
LINES = 2000
# Bounds of what is kept.
PROCESSES, DESCRIPTORS = 64, 1024
PART_BYTES, ALL_BYTES = 128 << 10, 8 << 20

_TEXTS = ("status", "limits", "io", "wchan", "syscall", "cgroup", "mountinfo", "maps")
_LINKS = ("exe", "cwd", "root")
_NETWORK = ("dev", "tcp", "tcp6", "udp", "udp6", "unix", "route", "snmp")


class Evidence:
    """The files of a piece as they grow, and whether something had to be left out."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.incomplete = False
        self._room = ALL_BYTES

    def add(self, name: str, data: bytes) -> None:
        """One file, as far as there is room."""
        if len(data) > self._room:
            self.incomplete = True
            data = data[: self._room]
        self._room -= len(data)
        self.contents[name] = data

    def sections(self, name: str, parts: Mapping[str, Callable[[], bytes]]) -> None:
        """One file of several parts, each under its name. What cannot be read says why."""
        data = b""
        for title, read in parts.items():
            try:
                text = read()
            except OSError as error:
                text = (error.strerror or str(error)).encode()
            if len(text) > PART_BYTES:
                self.incomplete = True
                text = text[:PART_BYTES]
            data += b"== %s\n%s\n" % (title.encode(), text.rstrip())
        self.add(name, data)


def of_control(evidence: Evidence, control: str, unit: str) -> dict[str, object]:
    """What PID 1 knows of the unit; returns its record. Raises AinosError."""
    with Client(control, timeout=CALL_SECONDS) as client:
        described = client.call("org.ainos.Control.Describe", {"name": unit})["unit"]
        logs = client.call("org.ainos.Control.Logs", {"unit": unit, "lines": LINES})
        records = client.call("org.ainos.Control.Measurements")["records"]
    known = described if isinstance(described, dict) else {}
    names = {unit, *known.get("models", ())}
    evidence.add("unit.json", dumps(known).encode())
    measured = [each for each in _list(records) if _name(each) in names]
    evidence.add("measurements.json", dumps(measured).encode())
    lines = [each for each in _list(logs["lines"]) if isinstance(each, dict)]
    text = "".join(f"[{line['time']:12.6f}] {_visible(line['text'])}\n" for line in lines)
    evidence.add(LOG, text.encode("utf-8", "replace"))
    return known


def of_group(evidence: Evidence, group: str) -> None:
    """The accounts and limits of the control group."""
    try:
        names = sorted(name for name in os.listdir(group) if os.path.isfile(f"{group}/{name}"))
    except FileNotFoundError:
        return  # it never ran
    evidence.sections("group.txt", {name: _reader(f"{group}/{name}") for name in names})


def of_processes(evidence: Evidence, group: str, proc: str = "/proc") -> None:
    """Every process of the group and of those below it, and the network that they are in."""
    networks: set[str] = set()
    for number, pid in enumerate(_members(group)):
        if number == PROCESSES:
            evidence.incomplete = True
            return
        here = f"{proc}/{pid}"
        parts = {"cmdline": _one_line(f"{here}/cmdline")}
        parts |= {name: _reader(f"{here}/{name}") for name in _TEXTS}
        parts |= {name: _link(f"{here}/{name}") for name in _LINKS}
        parts |= {"namespaces": _links(f"{here}/ns"), "descriptors": _links(f"{here}/fd")}
        evidence.sections(f"process-{pid}.txt", parts)
        network = _target(f"{here}/ns/net")
        if network not in networks:
            networks.add(network)
            inode = network.strip("net:[]") or str(pid)
            tables = {name: _reader(f"{here}/net/{name}") for name in _NETWORK}
            evidence.sections(f"network-{inode}.txt", tables)


def _members(group: str) -> Iterator[str]:
    for directory, below, _ in os.walk(group):
        below.sort()
        try:
            with open(f"{directory}/cgroup.procs", encoding="ascii") as file:
                yield from file.read().split()
        except OSError:
            pass  # a group that takes none, or is gone


def _reader(path: str) -> Callable[[], bytes]:
    def read() -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = b""
            while len(data) <= PART_BYTES and (more := os.read(descriptor, PART_BYTES)):
                data += more
            return data.replace(b"\0", b" ")
        finally:
            os.close(descriptor)

    return read


def _one_line(path: str) -> Callable[[], bytes]:
    """What a process chooses freely, so that it cannot pass for more of the file."""
    read = _reader(path)
    return lambda: read().replace(b"\n", b"\\x0a")


def _target(path: str) -> str:
    """Of the same kind."""
    try:
        return os.readlink(path).translate(VISIBLE)
    except OSError as error:
        return error.strerror or str(error)


def _link(path: str) -> Callable[[], bytes]:
    return lambda: os.fsencode(os.readlink(path).translate(VISIBLE))


def _links(path: str) -> Callable[[], bytes]:
    def read() -> bytes:
        names = sorted(os.listdir(path), key=lambda name: (len(name), name))
        found = [f"{name} {_target(f'{path}/{name}')}\n" for name in names[:DESCRIPTORS]]
        more = f"and {len(names) - DESCRIPTORS} more\n" if len(names) > DESCRIPTORS else ""
        return os.fsencode("".join(found) + more)

    return read


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _name(record: object) -> object:
    content = record.get("content") if isinstance(record, dict) else None
    return content.get("name") if isinstance(content, dict) else None


def _visible(text: object) -> str:
    return str(text).translate(VISIBLE)


def collect(control: str, group: str, directory: str, unit: str, piece: str) -> None:
    """Keep what there is of ``unit`` as ``piece``. Raises OSError when it cannot be kept."""
    _sync(f"{directory}/held", unit)
    evidence = Evidence()
    known: dict[str, object] = {}
    try:
        known = of_control(evidence, control, unit)
    except (AinosError, KeyError, TypeError, ValueError) as error:
        evidence.incomplete = True
        evidence.add("problem.txt", f"what PID 1 knows is missing: {error}\n".encode())
    of_group(evidence, group)
    of_processes(evidence, group)
    held = known.get("quarantine")
    why = held if isinstance(held, dict) else {}
    at = why.get("time")
    with open(BOOT_ID, encoding="ascii") as file:
        boot_id = file.read(64).strip()
    record = Crash(
        id=piece,
        kind=KIND,
        time=float(at) if isinstance(at, int) else time.time(),
        boot_id=boot_id,
        kernel=os.uname().release,
        cause=f"{unit}: {why.get('reason', 'unknown')} (by {why.get('by', 'unknown')})",
        incomplete=evidence.incomplete,
    )
    Held(directory).add(record, evidence.contents, _names(f"{directory}/held"))


def _sync(directory: str, unit: str) -> None:
    """Make durable that the unit is held: PID 1 has only written it."""
    try:
        descriptor = os.open(f"{directory}/{unit}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return  # a job, which does not outlast a reboot
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    files.sync_directory(directory)


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def main() -> None:
    """Collect, or say why not and exit with 1."""
    try:
        collect(*sys.argv[1:6])
    except OSError as error:
        sys.exit(f"{error.filename or 'the state partition'}: {error.strerror}")


if __name__ == "__main__":
    main()
