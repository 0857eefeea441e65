"""From PID 1's answers to metrics: values in, values out.

A value that the kernel or PID 1 does not know is no sample, rather than zero.

>>> families = collect({"machine": {"health": "healthy", "faults": 0}}, {})
>>> [family.name for family in families if family.text()]
['ainos_machine_health', 'ainos_pid1_faults_total']
"""

from __future__ import annotations

from collections.abc import Mapping

from ..policy import state
from .exposition import COUNTER, GAUGE, Family

STATES = (
    state.INACTIVE,
    state.WAITING,
    state.ALLOCATING,
    state.STARTING,
    state.READY,
    state.STOPPING,
    state.DRAINING,
    state.BACKOFF,
    state.EXITED,
    state.FAILED,
    state.REFUSED,
    state.QUARANTINED,
)
HEALTHS = ("starting", "healthy", "degraded", "refused")

_STALL = "Share of the last ten seconds in which some task waited for {}."
# Of a unit's account: field → metric, kind, what one of the field is in the metric's unit, help.
_OF_ACCOUNTS: dict[str, tuple[str, str, float, str]] = {
    "restarts": ("restarts_total", COUNTER, 1, "Times that the unit was started anew."),
    "cpu_usec": ("cpu_seconds_total", COUNTER, 1e-6, "Processor time."),
    "memory_bytes": ("memory_bytes", GAUGE, 1, "Memory in use, page cache included."),
    "memory_peak_bytes": ("memory_peak_bytes", GAUGE, 1, "The most memory that was in use."),
    "pids": ("pids", GAUGE, 1, "Processes and threads."),
    "io_read_bytes": ("io_read_bytes_total", COUNTER, 1, "Bytes read from disks."),
    "io_write_bytes": ("io_write_bytes_total", COUNTER, 1, "Bytes written to disks."),
    "oom_kills": ("oom_kills_total", COUNTER, 1, "Processes killed because memory ran out."),
    "cpu_pressure": ("cpu_pressure_ratio", GAUGE, 0.01, _STALL.format("a processor")),
    "memory_pressure": ("memory_pressure_ratio", GAUGE, 0.01, _STALL.format("memory")),
    "io_pressure": ("io_pressure_ratio", GAUGE, 0.01, _STALL.format("disks")),
}

Record = Mapping[str, object]


def collect(status: Record, accounts: Mapping[str, Record]) -> list[Family]:
    """The metrics of a machine, from the answer to ``Status`` and accounts by name."""
    machine, units = _record(status.get("machine")), _records(status.get("units"))
    return [
        *_machine(machine, _records(status.get("phases"))),
        *_units(units, accounts),
    ]


def _machine(machine: Record, phases: list[Record]) -> list[Family]:
    info = Family("ainos_machine_info", GAUGE, "Always 1; the labels say which machine.")
    if "version" in machine:
        labels = ("hostname", "version", "configuration", "secure_boot", "tpm", "enforcement")
        info.add(1, **{label: machine.get(label, "") for label in labels})
    health = Family("ainos_machine_health", GAUGE, "1 for the health that the machine is in.")
    for name in HEALTHS if "health" in machine else ():
        health.add(int(machine["health"] == name), health=name)
    findings = Family("ainos_machine_findings", GAUGE, "What keeps the machine from being healthy.")
    if isinstance(machine.get("findings"), list):
        findings.add(len(_list(machine["findings"])))
    up = Family("ainos_machine_uptime_seconds", GAUGE, "Time since boot, suspend included.")
    up.add(machine.get("uptime"))
    faults = Family(
        "ainos_pid1_faults_total", COUNTER, "How often a fault of PID 1 started it anew."
    )
    faults.add(machine.get("faults"))
    peak = Family("ainos_pid1_memory_peak_bytes", GAUGE, "The most memory that PID 1 has had.")
    peak.add(machine.get("peak_bytes"))
    boot = Family("ainos_boot_phase_seconds", GAUGE, "How long each phase of the boot took.")
    for phase in phases:
        boot.add(phase.get("seconds"), phase=phase.get("name", ""))
    return [info, health, findings, up, faults, peak, boot]


def _units(units: list[Record], accounts: Mapping[str, Record]) -> list[Family]:
    states = Family("ainos_unit_state", GAUGE, "1 for the state that the unit is in.")
    dropped = Family(
        "ainos_unit_log_dropped_bytes_total", COUNTER, "Output that was lost unread and unkept."
    )
    denied = Family(
        "ainos_unit_denied_opens_total", COUNTER, "Files that the kernel kept from an agent."
    )
    for unit in units:
        for name in STATES:
            states.add(int(unit.get("state") == name), unit=unit.get("name", ""), state=name)
        dropped.add(unit.get("log_dropped"), unit=unit.get("name", ""))
        denied.add(unit.get("denied_opens"), unit=unit.get("name", ""))
    families = [states, dropped, denied]
    for field, (name, kind, scale, help_) in _OF_ACCOUNTS.items():
        family = Family(f"ainos_unit_{name}", kind, help_)
        for owner, account in accounts.items():
            value = account.get(field)
            if isinstance(value, int | float):
                family.add(value if scale == 1 else round(value * scale, 6), unit=owner)
        families.append(family)
    return families


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _record(value: object) -> Record:
    return value if isinstance(value, dict) else {}


def _records(value: object) -> list[Record]:
    return [item for item in _list(value) if isinstance(item, dict)]
