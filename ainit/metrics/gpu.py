"""From the GPU service's readings to metrics: values in, values out.

What a board or its mode does not tell is no sample, and neither is what is too old to speak for
the GPU: then ``ainos_gpu_reading_stale`` is 1, and the age says how old. Every sample of an
emulated GPU has the label ``emulated="true"``. NVML tells no utilisation of a MIG instance, and
none of its GPU while MIG is on.

>>> [family.name for family in collect({"emulated": False, "gpus": []})][0]
'ainos_gpu_info'
"""

from __future__ import annotations

from collections.abc import Mapping

from .exposition import COUNTER, GAUGE, Family

Record = Mapping[str, object]
STATES = ("ready", "cordoned", "lost", "silent", "waiting", "resetting")
REASONS = (
    "idle", "application-clocks", "power-cap", "hw-slowdown", "sync-boost", "sw-thermal",
    "hw-thermal", "power-brake", "display-clocks",
)  # fmt: skip

_MIB = 1 << 20
_MHZ = 1_000_000
_CLOCK = "Clock frequency of the {}."
# Of a reading: field → metric, kind, what one of the field is in the metric's unit, help.
_OF_GPUS: dict[str, tuple[str, str, float, str]] = {
    "temperature_c": ("temperature_celsius", GAUGE, 1, "Temperature of the GPU."),
    "power_w": ("power_watts", GAUGE, 1, "Power that is drawn."),
    "power_limit_w": ("power_limit_watts", GAUGE, 1, "Power that may be drawn."),
    "clock_sm_mhz": ("sm_clock_hertz", GAUGE, _MHZ, _CLOCK.format("multiprocessors")),
    "clock_memory_mhz": ("memory_clock_hertz", GAUGE, _MHZ, _CLOCK.format("memory")),
    "utilisation": ("utilisation_ratio", GAUGE, 0.01, "Share of time with work; none under MIG."),
    "memory_used_mib": ("memory_used_bytes", GAUGE, _MIB, "Memory in use."),
    "memory_mib": ("memory_bytes", GAUGE, _MIB, "Memory that there is."),
    "pcie_replays": ("pcie_replays_total", COUNTER, 1, "Packets that PCIe had to send again."),
    "uncorrected": (
        "memory_errors_uncorrected_total", COUNTER, 1,
        "Memory errors that were not corrected, since the driver was loaded.",
    ),
    "corrected": (
        "memory_errors_corrected_total", COUNTER, 1,
        "Memory errors that were corrected, since the driver was loaded.",
    ),
    "remapped": ("memory_rows_remapped", GAUGE, 1, "Memory rows that were remapped."),
}  # fmt: skip
_OF_PARTS: dict[str, tuple[str, float, str]] = {
    "memory_used_mib": ("memory_used_bytes", _MIB, "Memory in use on the instance."),
    "memory_mib": ("memory_bytes", _MIB, "Memory of the instance."),
    "processes": ("processes", 1, "Processes that use the instance."),
}


def collect(readings: Record) -> list[Family]:
    """The metrics of all GPUs and instances, from the answer to ``Readings``."""
    gpus = _records(readings.get("gpus"))
    emulated = str(readings.get("emulated") is True).lower()
    return [*_state(gpus, emulated), *_numbers(gpus, emulated), *_parts(gpus, emulated)]


def _state(gpus: list[Record], emulated: str) -> list[Family]:
    info = Family("ainos_gpu_info", GAUGE, "Always 1; the labels say which GPU.")
    state = Family("ainos_gpu_state", GAUGE, "1 for the state that the GPU is in.")
    cordoned = Family("ainos_gpu_cordoned", GAUGE, "Whether nothing new is placed on the GPU.")
    stale = Family("ainos_gpu_reading_stale", GAUGE, "Whether there is no reading of late.")
    age = Family("ainos_gpu_reading_age_seconds", GAUGE, "How old the last reading is.")
    for gpu in gpus:
        labels = _labels(gpu, emulated)
        info.add(1, **labels, name=gpu.get("name", ""), bus=gpu.get("bus", ""))
        for name in STATES:
            state.add(int(gpu.get("state") == name), **labels, state=name)
        cordoned.add(int(gpu.get("cordoned") is True), **labels)
        stale.add(int(gpu.get("stale") is True), **labels)
        age.add(gpu.get("age_s"), **labels)
    return [info, state, cordoned, stale, age]


def _numbers(gpus: list[Record], emulated: str) -> list[Family]:
    fresh = [gpu for gpu in gpus if gpu.get("stale") is not True]
    families = []
    for field, (name, kind, scale, help_) in _OF_GPUS.items():
        family = Family(f"ainos_gpu_{name}", kind, help_)
        for gpu in fresh:
            family.add(_scaled(gpu.get(field), scale), **_labels(gpu, emulated))
        families.append(family)
    slow = Family("ainos_gpu_throttled", GAUGE, "1 for each reason why clocks are lower.")
    for gpu in fresh:
        told = gpu.get("throttle")
        for reason in REASONS if isinstance(told, list) else ():
            is_told = reason in told if isinstance(told, list) else False
            slow.add(int(is_told), **_labels(gpu, emulated), reason=reason)
    return [*families, slow]


def _parts(gpus: list[Record], emulated: str) -> list[Family]:
    families = []
    for field, (name, scale, help_) in _OF_PARTS.items():
        family = Family(f"ainos_gpu_instance_{name}", GAUGE, help_)
        for gpu in gpus:
            for part in [] if gpu.get("stale") is True else _records(gpu.get("parts")):
                labels = {
                    "gpu": gpu.get("index", ""),
                    "instance": part.get("instance", ""),
                    "uuid": part.get("uuid", ""),
                    "profile": part.get("profile") or "",
                    "agent": part.get("agent") or "",
                    "emulated": emulated,
                }
                family.add(_scaled(part.get(field), scale), **labels)
        families.append(family)
    return families


def _labels(gpu: Record, emulated: str) -> dict[str, object]:
    return {"gpu": gpu.get("index", ""), "uuid": gpu.get("uuid", ""), "emulated": emulated}


def _scaled(value: object, scale: float) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if scale == 1 else round(value * scale, 6)


def _records(value: object) -> list[Record]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
