"""Which plan PID 1 runs: the image's own, or one compiled anew for this machine's configuration.

That configuration is ``machine.toml`` and the machine's own units, ``units/NAME.toml``, on the
state partition; where there is none, a ``machine.toml`` that the hypervisor offers (SMBIOS). A copy
of it in /run is compiled, measured and used, whatever happens to the files meanwhile. TOML is
parsed in a child with a deadline, never here. A wrong configuration is refused as a whole: the
machine runs by the image's plan, says why, and the refusal is measured.
"""

from __future__ import annotations

import os

from .. import constants
from ..errors import AinosError, MeasurementError, RefusedError
from ..linux import files, fsverity, kmsg, libc, smbios
from ..policy import origin, phases
from ..policy.plan import Plan
from ..wire.codec import dumps, loads
from . import errand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .facts import Facts
    from .journal import Journal
    from .measure import Measurements

COMPILE_SECONDS = 30.0
_BYTES_MAX = 1 << 20  # of all files together
_FILES_MAX = 512
MACHINE_FILE = "machine.toml"
_SUFFIX = ".toml"
NAME = "machine"
SMBIOS = "SMBIOS"
_CREDENTIAL = "ainos.machine"
CHANGE = "change"  # journal: what is being carried out by the candidate

Files = dict[str, bytes]  # "machine.toml" and "units/NAME.toml" → their bytes


def running(facts: Facts, journal: Journal) -> Plan:
    """The plan that a former PID 1 ran by, or that it had begun to run by."""
    if journal.values.get(CHANGE):
        enforce(facts, journal)
    return read_plan(facts.plan)


def enforce(facts: Facts, journal: Journal) -> None:
    """The candidate is the machine's plan from now on, and after a fault. Again is the same."""
    try:
        os.rename(constants.CANDIDATE_PLAN, constants.MACHINE_PLAN)
    except FileNotFoundError:
        pass  # done before
    facts.plan = constants.MACHINE_PLAN
    facts.configuration = constants.MACHINE if copied() else origin.DEFAULT
    facts.remember(journal)


def load(measurements: Measurements, facts: Facts) -> Plan:
    """The plan to run; ``facts`` get the digest of the machine configuration behind it."""
    facts.plan, facts.configuration = constants.PLAN, origin.DEFAULT
    plan = read_plan(constants.PLAN)
    found: Files = {}
    for source, look in ((constants.MACHINE, stored), (SMBIOS, offered)):
        if source == SMBIOS and (facts.refused or facts.configuration != origin.DEFAULT):
            break  # a state that stays closed may hold a configuration, and one refused is one
        found, why = _taken(source, look)
        if why:
            facts.configuration = f"refused: {why}"
            facts.problems.append(f"machine configuration refused, running the default: {why}")
            measurements.add(phases.refused(phases.MACHINE_CONFIG, NAME, why))
        elif found:
            facts.configuration = source
            facts.plan = constants.MACHINE_PLAN
            plan = read_plan(constants.MACHINE_PLAN)
            break
    if not found:
        stage({}, constants.CONFIG_COPY)
    publish(plan)
    facts.config_digest = digest(found)
    if facts.configuration == SMBIOS:
        measurements.add(came_from(SMBIOS, facts.config_digest))
    return plan


def _taken(source: str, look: Callable[[], Files]) -> tuple[Files, str]:
    """What a source has, compiled; or nothing, and why it is refused."""
    found: Files = {}
    try:
        found = look()
        if not found:
            return {}, ""
        stage(found, constants.CONFIG_COPY)
        why = _compile(os.path.dirname(source) or source)
    except (OSError, RefusedError) as error:
        why = f"{source}:1: cannot be used: {error}"
    return ({}, why) if why else (found, "")


def offered() -> Files:
    """The configuration that the hypervisor offers, for a machine whose state has none; empty when
    there is none. Raises OSError, or RefusedError when it is none or more than PID 1 takes.
    """
    data = smbios.credential(_CREDENTIAL, constants.SMBIOS)
    if data is not None and len(data) > _BYTES_MAX:
        raise RefusedError(f"it is larger than {_BYTES_MAX} bytes")
    return {MACHINE_FILE: data} if data else {}


def stored() -> Files:
    """The configuration on the state partition; empty when there is none.

    Raises OSError, or MeasurementError when it is more than PID 1 takes.
    """
    return gather(constants.CONFIG)


def copied() -> Files:
    """The configuration that is in force."""
    return gather(constants.CONFIG_COPY)


def store(found: Files) -> None:
    """Replace the configuration on the state partition, as a whole or not at all."""
    following = constants.CONFIG + ".next"
    _clear(following)
    for name, data in found.items():
        path = f"{following}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.replace(path, data)
    os.makedirs(following, exist_ok=True)
    os.makedirs(constants.CONFIG, exist_ok=True)
    files.sync_directory(following)
    libc.exchange(following, constants.CONFIG)
    files.sync_directory(os.path.dirname(constants.CONFIG))
    _clear(following)


def stage(found: Mapping[str, bytes], directory: str) -> None:
    """Write a copy of a configuration to ``directory``, which never outlives a power cut."""
    _clear(directory)
    os.makedirs(f"{directory}/units", exist_ok=True)
    for name, data in found.items():
        write(f"{directory}/{name}", data)


def event(digest: str) -> phases.Event:
    """The event that measures a machine configuration."""
    return phases.measured(phases.MACHINE_CONFIG, NAME, digest)


def came_from(source: str, digest: str) -> phases.Event:
    """The event that tells where a configuration came from that is not the machine's yet."""
    return phases.measured(phases.CONFIG_SOURCE, source.lower(), digest)


def digest(found: Mapping[str, bytes]) -> str:
    """The digest that stands for a configuration in PCR 12."""
    machine = found.get(MACHINE_FILE)
    if machine is None:
        machine = _read(constants.DEFAULT_MACHINE) or b""
    units = {
        name.removeprefix("units/").removesuffix(_SUFFIX): data
        for name, data in found.items()
        if name != MACHINE_FILE
    }
    rest = [phases.configuration(machine, units)]
    size = len(rest[0])

    def read(count: int) -> bytes:
        part, rest[0] = rest[0][:count], rest[0][count:]
        return part

    return fsverity.text(fsverity.digest_stream(read, size))


def compiler(directory: str, out: str) -> list[str]:
    """The command that compiles the copy in ``directory`` to the plan ``out``."""
    machine = f"{directory}/{MACHINE_FILE}"
    if not os.path.exists(machine):
        machine = constants.DEFAULT_MACHINE
    argv = ["/usr/bin/python3", "-I", "-m", "ainit.child.compile", "--base", constants.PLAN]
    return [*argv, "--units", f"{directory}/units", "--machine", machine, "--out", out]


def publish(plan: Plan) -> None:
    """Let PID 1's children read the machine's part of the plan."""
    write(constants.MACHINE_JSON, dumps(plan.machine).encode())


def read_plan(path: str) -> Plan:
    """The plan in a file. Raises AinosError when there is none."""
    try:
        with open(path, "rb", opener=_open) as file:
            record = loads(file.read())
        if not isinstance(record, dict):
            raise ValueError("not an object")
        return Plan.from_record(record)
    except (KeyError, TypeError, ValueError) as error:
        raise AinosError(f"{path} is no plan: {error}") from error


def is_name(name: str) -> bool:
    """Whether a file of this name may be part of a configuration."""
    stem = name.removeprefix("units/").removesuffix(_SUFFIX)
    return name == MACHINE_FILE or (
        name == f"units/{stem}{_SUFFIX}" and bool(stem) and stem[0] != "." and "/" not in stem
    )


def gather(directory: str) -> Files:
    """The configuration in a directory. Raises as ``stored``."""
    found: Files = {}
    try:
        names = sorted(os.listdir(f"{directory}/units"))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    if len(names) > _FILES_MAX:
        raise MeasurementError(f"{directory}/units holds more than {_FILES_MAX} files")
    for name in (MACHINE_FILE, *(f"units/{name}" for name in names)):
        if is_name(name) and (data := _read(f"{directory}/{name}")) is not None:
            found[name] = data
    if sum(map(len, found.values())) > _BYTES_MAX:
        raise MeasurementError(f"the files are larger than {_BYTES_MAX} bytes together")
    return found


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", opener=_open) as file:
            data = file.read(_BYTES_MAX + 1) or b""
    except FileNotFoundError:
        return None
    if len(data) > _BYTES_MAX:
        raise MeasurementError(f"{path} is larger than {_BYTES_MAX} bytes")
    return data


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO must not block PID 1


def write(path: str, data: bytes) -> None:
    """Replace a file in /run, which never outlives a power cut."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.rename(path + ".new", path)


def _clear(directory: str) -> None:
    """Remove a directory of ours with what is in it."""
    for folder in (f"{directory}/units", directory):
        try:
            for name in os.listdir(folder):
                if folder != directory or name != "units":
                    os.unlink(f"{folder}/{name}")
            os.rmdir(folder)
        except FileNotFoundError:
            pass


def _compile(label: str) -> str:
    """Compile the machine's plan in a child; returns why it is refused, or nothing."""
    argv = compiler(constants.CONFIG_COPY, constants.MACHINE_PLAN)
    status, output = errand.run(argv, {"PATH": "/usr/bin"}, COMPILE_SECONDS)
    if status == -1:
        return f"not checked in {COMPILE_SECONDS:g} s"
    if status:
        kmsg.log(f"machine configuration: {output}", kmsg.ERROR)
        return output.replace(constants.CONFIG_COPY, label) or "the compiler died"
    return ""
