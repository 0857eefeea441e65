"""Resource limits and accounts in the words of cgroup v2's files, and back.

Limits are (key, file, text): the key of ``[resources]``, the file of the group, what is written
there. Leaves out reading and writing them: see ``linux.cgroup``.

>>> from .plan import SERVICE, Unit
>>> unit = Unit("weather", SERVICE)
>>> unit.memory_max, unit.cpu_max = 64 << 20, 150
>>> limits(unit)
[('memory_max', 'memory.max', '67108864'), ('cpu_max', 'cpu.max', '150000 100000')]
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .plan import Record, Unit

CPU_PERIOD_USEC = 100_000
PRESSURE_SECONDS = 10.0  # what ``memory_pressure`` is a share of
_NO_LIMIT = "max"

# Key → (file, what the file says where nobody asked for anything). The order is that of writing:
# guarantees, then the soft limit, then the hard one.
FILES: dict[str, tuple[str, str]] = {
    "memory_min": ("memory.min", "0"),
    "memory_low": ("memory.low", "0"),
    "memory_high": ("memory.high", _NO_LIMIT),
    "memory_max": ("memory.max", _NO_LIMIT),
    "memory_swap_max": ("memory.swap.max", _NO_LIMIT),
    "cpu_weight": ("cpu.weight", "100"),
    "cpu_max": ("cpu.max", f"{_NO_LIMIT} {CPU_PERIOD_USEC}"),
    "cpus": ("cpuset.cpus", "\n"),
    "memory_nodes": ("cpuset.mems", "\n"),
    "io_weight": ("io.weight", "default 100"),
    "pids_max": ("pids.max", _NO_LIMIT),
}
IO_MAX = "io.max"
_IO_KEYS = ("rbps", "wbps", "riops", "wiops")


def limits(unit: Unit) -> list[tuple[str, str, str]]:
    """What a unit asks for, ``io_max`` aside, which needs device numbers: see ``io_limit``."""
    asked = unit.__dict__  # a unit holds only what differs from the defaults
    return [
        (key, file, _text(key, asked[key]))
        for key, (file, _) in FILES.items()
        if key in asked and asked[key] != getattr(type(unit), key)
    ]


def placed(unit: Unit, gpu: Record | None) -> Unit:
    """A unit on the processors and the memory that are near its GPU, as far as it leaves that open
    and the GPU service knows them; else the unit itself.

    >>> from .plan import AGENT, Unit
    >>> near = placed(Unit("a", AGENT), {"numa": {"cpus": "0-7", "memory_nodes": "0"}})
    >>> near.cpus, near.memory_nodes
    ('0-7', '0')
    """
    numa = gpu.get("numa") if gpu else None
    if not isinstance(numa, dict) or unit.gpu_numa != "gpu":
        return unit
    wanted = {
        key: value
        for key in ("cpus", "memory_nodes")
        if isinstance(value := numa.get(key), str) and value and not getattr(unit, key)
    }
    if not wanted:
        return unit
    near = type(unit).from_record(unit.to_record())
    for key, value in wanted.items():
        setattr(near, key, value)
    return near


def _text(key: str, value: object) -> str:
    if key == "cpu_max" and isinstance(value, int | float):
        return f"{round(value * CPU_PERIOD_USEC / 100)} {CPU_PERIOD_USEC}"
    if key == "io_weight":
        return f"default {value}"
    return str(value)


def io_limit(device: str, asked: Mapping[str, int]) -> str:
    """A line of ``io.max`` for the device ``MAJOR:MINOR``; what nobody asked for has no limit.

    >>> io_limit("8:0", {"wbps": 1048576})
    '8:0 rbps=max wbps=1048576 riops=max wiops=max'
    """
    return f"{device} " + " ".join(f"{key}={asked.get(key) or _NO_LIMIT}" for key in _IO_KEYS)


def size(count: int) -> str:
    """Bytes as a unit file says them, in the largest unit that divides them.

    >>> size(64 << 20), size(1000)
    ('64M', '1000')
    """
    for letter, length in (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if count and count % length == 0:
            return f"{count // length}{letter}"
    return str(count)


def out_of_memory(unit: Unit, kills: int) -> str:
    """Why a unit ended, given how often the kernel ran out of memory in its group since it began;
    empty when it did not.

    >>> from .plan import SERVICE, Unit
    >>> out_of_memory(Unit("weather", SERVICE), 1)
    'out of memory: the kernel killed the group (the machine had none left)'
    """
    if not kills:
        return ""
    why = f"memory_max {size(unit.memory_max)}" if unit.memory_max else "the machine had none left"
    return f"out of memory: the kernel killed the group ({why})"


def under_pressure(percent: float, average: float | None) -> str:
    """What is said when memory pressure passed ``percent``; ``average`` is that of the kernel.

    >>> under_pressure(20.0, 23.5)
    'memory pressure: tasks waited for memory for over 20 % of 10 s (average 23.5 %)'
    """
    seen = "" if average is None else f" (average {average:g} %)"
    waited = f"over {percent:g} % of {PRESSURE_SECONDS:g} s"
    return f"memory pressure: tasks waited for memory for {waited}{seen}"


def pressure_trigger(percent: float) -> str:
    """The trigger of pressure stall information for a share of time, in microseconds.

    >>> pressure_trigger(20.0)
    'some 2000000 10000000'
    """
    window = int(PRESSURE_SECONDS * 1_000_000)
    return f"some {max(int(window * percent / 100), 1)} {window}"


def flat(text: str) -> dict[str, int]:
    """A flat-keyed file (``cpu.stat``, ``memory.events``); lines of another form are left out.

    >>> flat("usage_usec 7\\nnr_throttled 1\\n")
    {'usage_usec': 7, 'nr_throttled': 1}
    """
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            found[key] = int(value)
    return found


def io_bytes(text: str) -> tuple[int, int]:
    """Bytes read and written, over all devices of ``io.stat``.

    >>> io_bytes("8:0 rbytes=10 wbytes=2 rios=1\\n8:16 rbytes=5 wbytes=0 rios=1\\n")
    (15, 2)
    """
    total = {"rbytes": 0, "wbytes": 0}
    for word in text.split():
        key, _, value = word.partition("=")
        if key in total and value.isdigit():
            total[key] += int(value)
    return total["rbytes"], total["wbytes"]


def average(text: str) -> float | None:
    """Per cent of the last ten seconds in which some task was stalled, of a pressure file.

    >>> average("some avg10=1.50 avg60=0.20 avg300=0.00 total=77\\nfull avg10=0.00 …")
    1.5
    """
    for word in text.partition("\n")[0].split():
        key, _, value = word.partition("=")
        if key == "avg10":
            try:
                return float(value)
            except ValueError:
                return None
    return None
