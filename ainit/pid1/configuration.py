"""Which plan PID 1 runs: the image's own, or one compiled anew for this machine's configuration.

TOML is parsed in a child with a deadline, never here. A wrong configuration is refused as a whole:
the machine runs the image's plan, says why, and the refusal is measured.
"""

from __future__ import annotations

import os
import select

from .. import constants
from ..errors import AinosError, MeasurementError
from ..linux import fsverity, kmsg, process
from ..policy import phases
from ..policy.plan import Plan
from ..wire.codec import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .facts import Facts
    from .measure import Measurements

_DEADLINE_SECONDS = 30.0
_BYTES_MAX = 1 << 20
_FINDINGS_BYTES = 16384
_COPY = constants.RUNTIME + "/machine.toml"
_PLAN = constants.RUNTIME + "/plan.json"
NAME = "machine"


def running(facts: Facts) -> Plan:
    """The plan that a former PID 1 ran by."""
    return _read_plan(facts.plan)


def load(measurements: Measurements, facts: Facts) -> Plan:
    """The plan to run; ``facts`` get the digest of the machine configuration behind it."""
    facts.plan = constants.PLAN
    plan = _read_plan(constants.PLAN)
    text, why = None, ""
    try:
        text = _read(constants.MACHINE)
        if text is not None:
            # This copy is compiled, measured and used, whatever happens to the file meanwhile.
            _write(_COPY, text)
            why = _compile()
    except (OSError, MeasurementError) as error:
        why = f"{constants.MACHINE}:1: cannot be used: {error}"
    if why:
        facts.configuration = f"refused: {why}"
        facts.problems.append(f"machine configuration refused, running the default: {why}")
        measurements.add(phases.refused(phases.MACHINE_CONFIG, NAME, why))
    elif text is None:
        facts.configuration = "default"
    else:
        facts.configuration = constants.MACHINE
        facts.plan = _PLAN
        plan = _read_plan(_PLAN)
    if why or text is None:
        text = _read(constants.DEFAULT_MACHINE) or b""
    _write(constants.MACHINE_JSON, dumps(plan.machine).encode())
    facts.config_digest = fsverity.text(_digest(text))
    return plan


def _digest(data: bytes) -> bytes:
    rest = [data]

    def read(size: int) -> bytes:
        part, rest[0] = rest[0][:size], rest[0][size:]
        return part

    return fsverity.digest_stream(read, len(data))


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


def _write(path: str, data: bytes) -> None:
    """Replace a file of the runtime directory, which never outlives a power cut."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.rename(path + ".new", path)


def _read_plan(path: str) -> Plan:
    try:
        record = loads(_read(path) or b"")
        if not isinstance(record, dict):
            raise ValueError("not an object")
        return Plan.from_record(record)
    except (KeyError, TypeError, ValueError) as error:
        raise AinosError(f"{path} is no plan: {error}") from error


def _compile() -> str:
    """Compile the machine's plan in a child; returns why it is refused, or nothing."""
    argv = ["/usr/bin/python3", "-I", "-m", "ainit.child.compile"]
    argv += ["--base", constants.PLAN, "--machine", _COPY, "--out", _PLAN]
    findings = os.memfd_create("findings", os.MFD_CLOEXEC)
    try:
        pid = process.spawn(process.Child(argv, {"PATH": "/usr/bin"}, output=findings))
        ended = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            if not poll.poll(_DEADLINE_SECONDS * 1000):
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                return f"not checked in {_DEADLINE_SECONDS:g} s"
        finally:
            os.close(ended)
        _, status = os.waitpid(pid, 0)
        output = os.pread(findings, _FINDINGS_BYTES, 0).decode("utf-8", "replace").strip()
    finally:
        os.close(findings)
    if status:
        kmsg.log(f"machine configuration: {output}", kmsg.ERROR)
        return output.replace(_COPY, constants.MACHINE) or "the compiler died"
    return ""
