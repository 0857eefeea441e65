"""bpf(2): maps, programs, links, and their names in the BPF file system. See the man page.

Leaves out what the programs are, see ``ainit.enforce`` and ``policy.device_filter``. Every
descriptor is close-on-exec, and the caller's.

    agents = get("/sys/fs/bpf/ainos/agents")
    update(agents, key, value)
"""

from __future__ import annotations

import errno
import os
import struct

from ..errors import UnavailableError
from .foreign import Char, Int, Long, Pointer, addressof, function, get_errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..policy.enforcement import Map

_NUMBERS = {"x86_64": 321, "aarch64": 280}
_ATTRIBUTES_BYTES = (
    152  # of union bpf_attr, for what is used here; the kernel takes less than it has
)

# Commands.
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _, _PROG_LOAD, _PIN, _GET, _ATTACH = range(9)
_BTF_LOAD, _LINK_CREATE = 18, 28

_PROG_TYPE_CGROUP_DEVICE = 15
_PROG_TYPE_LSM = 29
_ATTACH_CGROUP_DEVICE = 6
_ATTACH_LSM_MAC = 27
_NO_PREALLOC = 1
_TASK_STORAGE = 29
_LOG_BYTES = 1 << 18
_LOG_TAIL = 2000
_OUR_OWN = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # not the program's fault
_NOBODY = bytes.fromhex("b7000000000000009500000000000000")  # R0 = 0, and return

_syscall = function("syscall", (Long, Int, Pointer, Int), Long)


class _Memory:
    """Bytes at an address that the kernel reads or writes."""

    __slots__ = ("_kept", "address", "data")

    def __init__(self, content: bytes, size: int = 0) -> None:
        self.data = bytearray(content.ljust(max(size, len(content), 1), b"\0"))
        self._kept = Char.from_buffer(self.data)
        self.address = addressof(self._kept)


def _call(command: int, attributes: bytes, what: str) -> int:
    memory = _Memory(attributes, _ATTRIBUTES_BYTES)
    number = _NUMBERS.get(os.uname().machine, -1)
    result = int(_syscall(number, command, memory.address, _ATTRIBUTES_BYTES))
    if result < 0:
        code = get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def _name(text: str) -> bytes:
    return text.encode()[:15].ljust(16, b"\0")


# Names.


def pin(descriptor: int, path: str) -> None:
    """Give an object a name in the BPF file system. Raises OSError."""
    text = _Memory(path.encode() + b"\0")
    _call(_PIN, struct.pack("=QI", text.address, descriptor), path)


def get(path: str) -> int:
    """A descriptor of the object of this name. Raises OSError."""
    text = _Memory(path.encode() + b"\0")
    return _call(_GET, struct.pack("=QI", text.address, 0), path)


# Maps.


def update(map_: int, key: bytes, value: bytes) -> None:
    """Put an entry into a map, or another value into one. Raises OSError."""
    at, new = _Memory(key), _Memory(value)
    _call(_MAP_UPDATE, struct.pack("=I4xQQQ", map_, at.address, new.address, 0), "map update")


def delete(map_: int, key: bytes) -> None:
    """Take an entry out; one that is not there is fine. Raises OSError."""
    at = _Memory(key)
    try:
        _call(_MAP_DELETE, struct.pack("=I4xQQQ", map_, at.address, 0, 0), "map delete")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def lookup(map_: int, key: bytes, size: int) -> bytes | None:
    """The value of ``size`` bytes, or None when there is no such entry. Raises OSError."""
    at, value = _Memory(key), _Memory(b"", size)
    try:
        _call(_MAP_LOOKUP, struct.pack("=I4xQQQ", map_, at.address, value.address, 0), "map lookup")
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return bytes(value.data)


def create(map_: Map, types: int = 0) -> int:
    """A new map. ``types`` describes the entries of a task storage: see `load_types`."""
    storage = map_.kind == _TASK_STORAGE
    flags = _NO_PREALLOC if storage else 0
    head = struct.pack(
        "=7I16s", map_.kind, map_.key_bytes, map_.value_bytes, map_.entries, flags, 0, 0,
        _name(map_.name),
    )  # fmt: skip
    return _call(
        _MAP_CREATE,
        head + struct.pack("=4I", 0, types, 1 if types else 0, 2 if types else 0),
        map_.name,
    )


# Programs.


def load_types(types: bytes) -> int:
    """Types in BTF; a map's key is of the first, its value of the second. Raises OSError."""
    data = _Memory(types)
    return _call(_BTF_LOAD, struct.pack("=QQIII", data.address, 0, len(types), 0, 0), "types")


def load(name: str, code: bytes, hook: int) -> int:
    """A program for the LSM hook whose function has this id in the kernel's BTF.

    Raises UnavailableError with the last of what the kernel's verifier said when it refuses,
    OSError without descriptors or memory.
    """
    return _load(name, code, _PROG_TYPE_LSM, _ATTACH_LSM_MAC, hook)


def _load(name: str, code: bytes, kind: int, attach_kind: int, hook: int = 0) -> int:
    instructions, licence = _Memory(code), _Memory(b"GPL\0")

    def attributes(log: int, room: int) -> bytes:
        return struct.pack(
            "=IIQQIIQII16sIIIIQIIQII",
            kind, len(code) // 8, instructions.address, licence.address,
            1 if room else 0, room, log, 0, 0, _name(name),
            0, attach_kind, 0, 0, 0, 0, 0, 0, 0, hook,
        )  # fmt: skip

    try:
        return _call(_PROG_LOAD, attributes(0, 0), name)
    except OSError as error:
        if error.errno in _OUR_OWN:
            raise
        log = _Memory(b"", _LOG_BYTES)  # made only now: it takes longer than the loading
        try:
            return _call(_PROG_LOAD, attributes(log.address, _LOG_BYTES), name)
        except OSError:
            said = bytes(log.data).partition(b"\0")[0].decode("utf-8", "replace")
            raise UnavailableError(
                f"the kernel refuses the program {name}: {error.strerror}\n{said[-_LOG_TAIL:]}"
            ) from error


def attach(program: int, name: str) -> int:
    """Put a program in force; it is so while the link, or a name of it, exists. Raises OSError."""
    return _call(_LINK_CREATE, struct.pack("=4I", program, 0, _ATTACH_LSM_MAC, 0), name)


def filter_devices(group: int, code: bytes) -> None:
    """Have a program say which devices whoever is in a control group may open or make, instead of
    the one that did so far; it goes with the group. ``group`` is a descriptor of its directory.

    Raises OSError, or UnavailableError as ``load`` does.
    """
    program = _load("devices", code, _PROG_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE)
    try:
        attributes = struct.pack("=i3I", group, program, _ATTACH_CGROUP_DEVICE, 0)
        _call(_ATTACH, attributes, "device filter of the control group")
    finally:
        os.close(program)


def filters_devices() -> bool:
    """Whether this kernel has such programs (CONFIG_CGROUP_BPF)."""
    try:
        os.close(_load("devices", _NOBODY, _PROG_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE))
    except (OSError, UnavailableError):
        return False
    return True
