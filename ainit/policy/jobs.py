"""What somebody has run: the parameters of ``org.ainos.Control.Run`` become a unit, or findings.

A job is a unit without a file, for once. Its program lies on the verified root, or in an extension
that it names and that is measured. It has a user of its own and no capabilities, the kernel holds
it to what was measured for it, and what it executes is itself measured, as a unit's file is. It is
in a sandbox if whoever asks says what it may. Its name ends in ``.job``, which the name of no unit
file can. PID 1 imports this.

>>> unit, findings = job({"command": ["/usr/bin/true"], "profiles": ["2g.20gb"]}, "1", 64496)
>>> unit.name, unit.kind, unit.gpu_profile, findings
('1.job', 'job', '2g.20gb', [])
"""

from __future__ import annotations

from ..constants import EXTENSIONS
from ..digest import sha256
from ..wire.codec import canonical
from . import phases, plan, sandbox
from .plan import Unit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .phases import Event

SUFFIX = ".job"
# The last of the range that systemd's documentation gives to dynamic users; agents have the first.
UID_FIRST = 64496
UIDS = 1024
PROFILES_MAX = 8
PRIORITY_MAX = 100
SECONDS_MAX = 400 * 86400.0
_WORDS_MAX = 256
_TEXT_MAX = 16384
_PROCESSES_MAX = 4096
_STOP_SECONDS = 30.0
_OOM_SCORE = 500  # jobs go before services when memory is short
_EVENT = "job"

_WRITABLE = ("dev", "home", "mnt", "proc", "root", "run", "sys", "tmp", "var")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset("0123456789")
_NAME = _LETTERS | _DIGITS | {"-"}
_VARIABLE = _LETTERS | {letter.upper() for letter in _LETTERS} | _DIGITS | {"_"}
_OURS = ("AINOS_", "LISTEN_", "NOTIFY_", "WATCHDOG_", "CREDENTIALS_", "CUDA_VISIBLE_")


def is_verified(program: str) -> bool:
    """Whether the path of a program leads to the root file system, and not around a corner.

    >>> is_verified("/usr/bin/true"), is_verified("/usr/../tmp/true"), is_verified("true")
    (True, False, False)
    """
    if not program.startswith("/"):
        return False
    parts = program.split("/")[1:]
    return parts[0] not in _WRITABLE and not {"", ".", ".."} & set(parts)


def is_profile(text: str) -> bool:
    """Whether this is the name of a MIG profile.

    >>> is_profile("1g.10gb+me"), is_profile("whole")
    (True, False)
    """
    compute, dot, rest = text.partition(".")
    memory, _, media = rest.partition("gb")
    numbers = compute.removesuffix("g"), memory
    return (
        bool(dot)
        and compute.endswith("g")
        and all(number and _DIGITS.issuperset(number) for number in numbers)
        and text == f"{numbers[0]}g.{memory}gb{media}"
        and media in ("", "+me")
    )


def is_name(text: str) -> bool:
    """Whether a job may be called so: as a unit, and it may begin with a digit."""
    return 0 < len(text) <= 32 and _NAME.issuperset(text) and text[0] != "-"


def job(given: Mapping[str, object], name: str, uid: int) -> tuple[Unit, list[str]]:
    """The unit of a job, and everything that is wrong with what was asked for.

    Of ``given``, ``name``, ``deadline_s`` and who asked are the caller's business.
    """
    take = _Taker(given)
    unit = Unit(f"{name}{SUFFIX}", plan.JOB)
    unit.user = uid
    unit.restart = plan.NEVER
    unit.essential = unit.autostart = False
    unit.umask = 0o077
    unit.stop_timeout = _STOP_SECONDS
    unit.oom_score = _OOM_SCORE
    unit.limits = {"nproc": _PROCESSES_MAX, "core": 0}  # it has its user to itself
    unit.exec = take.texts("command", _WORDS_MAX, least=1)
    unit.description = " ".join(unit.exec)[:80]
    unit.models = take.texts("models", 32)
    unit.extensions = take.texts("extensions", 32)
    unit.environment = take.table("environment", _is_variable, _is_text)
    if (given_sandbox := given.get("sandbox")) is not None:
        if problem := sandbox.wrong(given_sandbox):
            take.findings.append(f"sandbox: {problem}")
        elif isinstance(given_sandbox, dict):
            unit.sandbox, unit.sandboxed = given_sandbox, True
    unit.gpu_profiles = take.texts("profiles", PROFILES_MAX, least=1)
    unit.gpu_profile = unit.gpu_profiles[0] if unit.gpu_profiles else ""
    unit.gpu_speeds = take.table("speeds", is_profile, _is_share)
    unit.gpu_priority = int(take.number("priority", -PRIORITY_MAX, PRIORITY_MAX))
    unit.gpu_estimate = take.number("estimate_s", 0, SECONDS_MAX)
    unit.memory_max = int(take.number("memory_bytes", 1 << 20, 1 << 60))
    unit.cpu_max = int(take.number("cpus", 0.01, 8192) * 100)
    findings = take.findings
    if not is_name(name):
        findings.append(f"{name!r} is no name: lower-case letters, digits, -")
    if unit.exec and not _may_run(unit.exec[0], unit.extensions):
        where = "the verified root, nor in an extension that the job names"
        findings.append(f"{unit.exec[0]} does not lie on {where}")
    if len(set(unit.gpu_profiles)) < len(unit.gpu_profiles):
        findings.append("profiles names one twice")
    findings += [
        f"{profile!r} is no MIG profile such as 1g.10gb"
        for profile in unit.gpu_profiles
        if not is_profile(profile)
    ]
    return unit, findings


def event(unit: Unit) -> Event:
    """The event that measures what a job executes: everything of it but what it may use of the
    machine. One that is run again is the same.
    """
    content = {
        "exec": list(unit.exec),
        "environment": dict(unit.environment),
        "models": list(unit.models),
        "extensions": list(unit.extensions),
    }
    digest = f"sha256:{sha256(canonical(content)).hex()}"
    return phases.measured(phases.MACHINE_CONFIG, _EVENT, digest)


def _may_run(program: str, extensions: Sequence[str]) -> bool:
    parts = program.split("/")
    for name in extensions:
        if program.startswith(f"{EXTENSIONS}/{name}/") and not {".", ".."} & set(parts):
            return True
    return is_verified(program)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and len(value) <= _TEXT_MAX


def _is_variable(name: str) -> bool:
    if not name or name[0] in _DIGITS or not _VARIABLE.issuperset(name):
        return False
    return not name.startswith(_OURS)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1


class _Taker:
    """Takes parameters by name, and says what is wrong with them."""

    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = given
        self.findings: list[str] = []

    def texts(self, key: str, most: int, *, least: int = 0) -> list[str]:
        """A list of strings that programs can be handed."""
        value = self._given.get(key)
        if value is None and not least:
            return []
        if (
            isinstance(value, list)
            and least <= len(value) <= most
            and all(_is_text(item) for item in value)
            and (not value or value[0])
        ):
            return [str(item) for item in value]
        self.findings.append(f"{key} is a list of {least} to {most} strings")
        return []

    def table(
        self, key: str, is_key: Callable[[str], bool], is_value: Callable[[object], bool]
    ) -> dict[str, Any]:
        """A table of plain values."""
        value = self._given.get(key)
        if value is None:
            return {}
        if isinstance(value, dict) and len(value) <= _WORDS_MAX:
            wrong = [name for name in value if not (is_key(name) and is_value(value[name]))]
            self.findings += [f"{key} has {name!r}, which may not be so" for name in wrong]
            return {name: item for name, item in value.items() if name not in wrong}
        self.findings.append(f"{key} is a table")
        return {}

    def number(self, key: str, low: float, high: float) -> float:
        """A number between two bounds; 0 where none is given."""
        value = self._given.get(key)
        if value is None:
            return 0.0
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and isinstance(value, int | float) and low <= value <= high:
            return float(value)
        self.findings.append(f"{key} is a number from {low:g} to {high:g}")
        return 0.0
