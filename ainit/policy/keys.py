"""Every key of a unit file: its table, the field of the plan that it sets, and its check.

docs/units.md says the same in words, and a test holds the two together. Leaves out the arrays of
tables ``[[socket]]``, ``[[path]]`` and ``[[device]]``, see ``activation``.

>>> BACKOFF["limit"][0]
'backoff_limit'
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import limit_values, plan, sandbox_config, values
from .activation import calendar
from .jobs import PRIORITY_MAX
from .values import Check

Keys = Mapping[str, tuple[str, Check]]

_PROFILE = re.compile(r"\d+g\.\d+gb(\+me)?\Z")
_A_PROFILE = values.matching(_PROFILE, 'a MIG profile such as "1g.10gb"')
_TIMEOUT = values.number(0.1, 3600)
_DAYS = 400 * 86400  # the longest pause of a timer, and of a backoff nothing is gained by more

# Tables of the machine configuration that a unit can be there for.
CONFIGURING = ("identity", "remote")

SERVICE: Keys = {
    "description": ("description", values.text),
    "configured_by": ("configured_by", values.one_of(CONFIGURING)),
    "exec": ("exec", values.list_of(values.text, least=1)),
    "type": ("type", values.one_of(plan.TYPES)),
    "stage": ("stage", values.one_of(plan.STAGES)),
    "after": ("after", values.names),
    "before": ("before", values.names),
    "requires": ("requires", values.names),
    "wants": ("wants", values.names),
    "bound_to": ("bound_to", values.names),
    "conflicts": ("conflicts", values.names),
    "provides": ("provides", values.interfaces),
    "environment": ("environment", values.environment),
    "models": ("models", values.names),
    "optional_models": ("optional_models", values.names),
    "extensions": ("extensions", values.names),
    "optional_extensions": ("optional_extensions", values.names),
    "essential": ("essential", values.flag),
    "rescue": ("rescue", values.flag),
    "survives": ("survives", values.flag),
    "stops_last": ("stops_last", values.flag),
    "autostart": ("autostart", values.flag),
    "restart": ("restart", values.one_of(plan.RESTARTS)),
    "success_status": ("success_status", values.names_list(values.whole(0, 255))),
    "start_timeout_s": ("start_timeout", _TIMEOUT),
    "stop_timeout_s": ("stop_timeout", _TIMEOUT),
    "stop_signal": ("stop_signal", values.signal),
    "reload_signal": ("reload_signal", values.signal),
    "notify_access": ("notify_access", values.one_of(plan.NOTIFY_ACCESS)),
    "fd_store_max": ("fd_store_max", values.whole(0, 1024)),
    "directory": ("directory", values.path),
    "user": ("user", values.user),
    "group": ("group", values.group),
    "groups": ("groups", values.names_list(values.group)),
    "umask": ("umask", values.octal),
    "capabilities": ("capabilities", values.names_list(values.capability)),
    "credentials": ("credentials", values.credentials),
    "limits": ("limits", limit_values.limits),
    "oom_score": ("oom_score", values.whole(-1000, 1000)),
    "nice": ("nice", values.whole(-20, 19)),
    "watchdog_s": ("watchdog", _TIMEOUT),
}
# Agents start after the boot set, never on a refused machine, each with a user of its own.
SERVICE_ONLY = ("configured_by", "stage", "rescue", "survives", "stops_last", "user", "group")
AGENT: Keys = {
    **{key: value for key, value in SERVICE.items() if key not in SERVICE_ONLY},
    "measurement": ("measurement", values.one_of((plan.REQUIRED, plan.OPTIONAL))),
}
BACKOFF: Keys = {
    "first_s": ("backoff_first", values.number(0, 3600)),
    "factor": ("backoff_factor", values.number(1, 10)),
    "max_s": ("backoff_max", values.number(0.01, 86400)),
    "limit": ("backoff_limit", values.whole(0, 1_000_000)),
    "jitter": ("backoff_jitter", values.number(0, 1)),
    "exhausted": ("exhausted", values.one_of(plan.EXHAUSTIONS)),
}
PROBE: Keys = {
    "exec": ("probe_exec", values.list_of(values.text, least=1)),
    "connect": ("probe_connect", values.address("unix", "tcp")),
    "varlink": (
        "probe_varlink",
        values.matching(values.INTERFACE, "an interface such as org.ainos.X"),
    ),
    "interval_s": ("probe_interval", _TIMEOUT),
    "timeout_s": ("probe_timeout", _TIMEOUT),
    "failures": ("probe_failures", values.whole(1, 1000)),
    "readiness": ("probe_readiness", values.flag),
}
TIMER: Keys = {
    "calendar": ("timer_calendar", calendar),
    "boot_s": ("timer_boot", values.number(0.001, _DAYS)),
    "every_s": ("timer_every", values.number(0.1, _DAYS)),
    "jitter_s": ("timer_jitter", values.number(0, 86400)),
    "persistent": ("timer_persistent", values.flag),
}
ACTIVATION: Keys = {"on_demand": ("on_demand", values.flag)}
RESOURCES: Keys = {
    "memory_min": ("memory_min", values.size(1)),
    "memory_low": ("memory_low", values.size(1)),
    "memory_high": ("memory_high", values.size(1)),
    "memory_max": ("memory_max", values.size(1)),
    "memory_swap_max": ("memory_swap_max", values.size(0)),
    "cpu_weight": ("cpu_weight", values.whole(1, 10000)),
    "cpu_max": ("cpu_max", values.whole_percent(1, 1_000_000)),
    "cpus": ("cpus", values.number_list(8191)),
    "memory_nodes": ("memory_nodes", values.number_list(1023)),
    "io_weight": ("io_weight", values.whole(1, 10000)),
    "io_max": ("io_max", limit_values.io_max),
    "pids_max": ("pids_max", values.whole(1, 1 << 22)),
    "memory_pressure": ("memory_pressure", values.percent(0.1, 100)),
    "memory_pressure_action": (
        "memory_pressure_action",
        values.one_of(plan.PRESSURE_ACTIONS),
    ),
}
LOGS: Keys = {
    "ring": ("log_ring", values.size(4096)),
    "persistent": ("log_persistent", values.flag),
}
GPU: Keys = {
    "profile": ("gpu_profile", _A_PROFILE),
    "profiles": ("gpu_profiles", values.names_list(_A_PROFILE)),
    "speeds": ("gpu_speeds", values.table_of(_PROFILE, "MIG profiles", values.number(0.001, 1))),
    "required": ("gpu_required", values.flag),
    "priority": ("gpu_priority", values.whole(-PRIORITY_MAX, PRIORITY_MAX)),
    "resizable": ("gpu_resizable", values.flag),
    "numa": ("gpu_numa", values.one_of(("gpu", "none"))),
}

# A field with a point is a key of the record that the field is.
SANDBOX: Keys = {key: (f"sandbox.{key}", check) for key, check in sandbox_config.KEYS.items()}

_SHARED: Mapping[str, Keys] = {
    "backoff": BACKOFF,
    "probe": PROBE,
    "timer": TIMER,
    "activation": ACTIVATION,
    "resources": RESOURCES,
    "logs": LOGS,
}
# Kind of unit → its tables. The first is the one that it must have.
TABLES: Mapping[str, Mapping[str, Keys]] = {
    plan.SERVICE: {"service": SERVICE, **_SHARED},
    plan.AGENT: {"agent": AGENT, **_SHARED, "gpu": GPU, "sandbox": SANDBOX},
}
# What a target may say in [service] or [agent]; nothing else has a meaning without a process.
TARGET = (
    "description", "type", "stage", "after", "before", "requires", "wants", "bound_to", "conflicts",
    "essential", "rescue", "autostart",
)  # fmt: skip
TARGET_TABLES = ("service", "agent", "timer", "path", "device")
# What only a unit that sends notifications may say.
NOTIFY_ONLY = ("watchdog_s", "notify_access", "fd_store_max")
