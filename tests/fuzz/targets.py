"""One function for each way in which bytes get into PID 1; each raises when a promise is broken.

``TARGETS`` are driven by a coverage-guided fuzzer (``scripts/fuzz``), by seeded mutations of
``corpus`` in the tests, and by whoever has a file that something failed at::

    python -m tests.fuzz.targets ring build/fuzz/crashes/ring-...

A promise is, say: a unit file becomes findings at lines that exist, or a unit that survives its
JSON form. What is refused is refused with the named exception. Leaves out processes: see
``tests/pidns``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ainit.errors import AinosError, ConfigError, Finding, WireError
from ainit.pid1 import lines
from ainit.pid1.journal import Journal
from ainit.pid1.ring import Ring
from ainit.policy import (
    calendar,
    calendar_text,
    config,
    listen,
    notification,
    sandbox,
    sandbox_words,
    seccomp,
    toml,
)
from ainit.policy.candidate import compile_over
from ainit.policy.plan import SERVICE, Plan, Unit
from ainit.policy.state import State
from ainit.wire import codec, protocol
from ainit.wire.protocol import Call, Inbox, VarlinkError
from tests.fuzz.sockets import control, notify

CHUNKS_MAX = 10_000  # a ring of a few bytes has no more
_LIMIT = 2000
_CUT = b"\n---\n"


def inbox(data: bytes) -> None:
    """However a stream is torn, the messages are the same, and no more is held than the limit."""
    step = data[0] % 31 + 1 if data else 1
    stream = data[1:]
    torn, whole = Inbox(_LIMIT), Inbox(_LIMIT)
    found: list[object] = []
    refused = False
    try:
        for start in range(0, len(stream), step):
            found += torn.feed(stream[start : start + step])
            assert len(torn._buffer) <= _LIMIT
    except WireError:
        refused = True
    try:
        together = whole.feed(stream)
    except WireError:
        assert refused
        return
    assert not refused
    assert found == together
    for message in together:
        _call(message)


def _call(message: dict[str, object]) -> None:
    try:
        call = Call(message)
    except WireError:
        return
    assert f"{call.interface}.{call.member}" == call.method
    for name in list(call.parameters):
        readers: tuple[Callable[[str], object], ...] = (
            call.text,
            call.optional_text,
            call.flag,
            lambda key: call.number(key, 0),
        )
        for read in readers:
            try:
                read(name)
            except VarlinkError as error:
                protocol.error(error.name, error.parameters)
    assert Inbox().feed(protocol.encode(message)) == [message]


def json(data: bytes) -> None:
    """Text is a value, or a ValueError; a value says the same again."""
    try:
        value = codec.loads(data)
    except ValueError:
        return
    assert codec.loads(codec.dumps(value)) == value
    assert codec.loads(codec.canonical(value)) == value


def unit_file(data: bytes) -> None:
    """Findings at lines that exist, or a unit that survives its JSON form."""
    text = data.decode("utf-8", "replace")
    for kind in (config.unit, _manifest):
        unit, findings = kind(text, "a.toml", "a")
        _have_places(findings, {"a.toml": text})
        if not findings:
            record = codec.loads(codec.dumps(unit.to_record()))
            assert isinstance(record, dict)
            assert Unit.from_record(record).to_record() == record
            _sandbox(unit)


def _sandbox(unit: Unit) -> None:
    """Whatever profile an agent has, it can be compiled and explained."""
    profile = sandbox.of(unit)
    if profile is not None:
        assert len(seccomp.program(profile.calls, "x86_64")) % 8 == 0
        assert sandbox_words.explain(unit)
        assert not sandbox_words.difference(unit, unit)


def _manifest(text: str, file: str, name: str) -> tuple[Unit, list[Finding]]:
    return config.agent(text, file, name, "a.erofs")


def configuration(data: bytes) -> None:
    """Files make a plan whose order is right and that survives its JSON form, or findings."""
    names = ("machine.toml", "units/a.toml", "units/b.toml", "units/c.toml")
    parts = data.decode("utf-8", "replace").split(_CUT.decode())
    files = dict(zip(names, parts, strict=False))
    image = Unit("a", SERVICE)
    image.exec = ["/usr/bin/a"]
    try:
        plan = compile_over(Plan([image], {}), files)
    except ConfigError as error:
        _have_places(error.findings, files)
        return
    record = codec.loads(codec.dumps(plan.to_record()))
    assert isinstance(record, dict)
    assert codec.dumps(Plan.from_record(record).to_record()) == codec.dumps(record)
    place = {unit.name: index for index, unit in enumerate(plan.units)}
    for unit in plan.units:
        for name in (*unit.after, *unit.requires, *unit.wants, *unit.bound_to):
            assert place.get(name, -1) < place[unit.name]


def _have_places(findings: list[Finding] | tuple[Finding, ...], files: dict[str, str]) -> None:
    for one in findings:
        assert 1 <= one.line <= files.get(one.file, "").count("\n") + 1, one
        assert one.message


def document(data: bytes) -> None:
    """TOML, with a line for each key, or the line where it is none."""
    text = data.decode("utf-8", "replace")
    try:
        found = toml.parse(text, "a.toml")
    except ConfigError as error:
        _have_places(error.findings, {"a.toml": text})
        return
    last = text.count("\n") + 1
    for key in found.values:
        assert 1 <= found.line(key) <= last


def expression(data: bytes) -> None:
    """A calendar expression comes true in order, or is refused with a ValueError."""
    text = data.decode("utf-8", "replace")
    try:
        compiled = calendar_text.parse(text)
    except ValueError:
        return
    now = calendar.next_elapse(compiled, -1)
    assert now is not None
    for _ in range(3):
        following = calendar.next_elapse(compiled, now)
        if following is None:
            return
        assert following > now
        now = following


def address(data: bytes) -> None:
    """An address has its parts, or is refused with a ValueError."""
    try:
        family, style, host, port = listen.address(data.decode("utf-8", "replace"))
    except ValueError:
        return
    assert family in (listen.UNIX, listen.INET, listen.INET6)
    assert style in (listen.STREAM, listen.DATAGRAM, listen.SEQPACKET)
    assert 0 <= port <= listen.PORT_MAX
    assert family != listen.UNIX or (host.startswith("/") and not port)


def message(data: bytes) -> None:
    """A notification says what it may say, whatever its bytes are."""
    said = notification.parse(data)
    assert set(said) <= notification.KNOWN
    for text in [*said.values(), data.decode("utf-8", "replace")]:
        assert 0.0 <= notification.seconds(text) <= 86400.0
        assert 0 <= notification.pid(text) < 10**10
        assert len(notification.status(text)) <= 256
        name = notification.name(text)
        assert name.isprintable()
        assert ":" not in name


def journal(data: bytes) -> None:
    """A journal of whatever bytes is gone on with, or refused by name."""
    with memory(data) as descriptor:
        try:
            found = Journal.resume(descriptor)
        except AinosError:
            return
        if found is not None:
            for record in found.units.values():
                State.from_record(record)
            found.put("after", 1)


def ring(data: bytes) -> None:
    """A ring of whatever bytes can be loaded, read, written to and compacted."""
    with memory(data) as descriptor:
        one = Ring("u", descriptor)
        one.load()
        assert sum(1 for _ in zip(one.back(), range(CHUNKS_MAX), strict=False)) < CHUNKS_MAX
        assert one.dropped >= 0
        assert one.time >= 0
        lines.tail(one, 100, 0, 65536)
        lines.read(one, 0, 100, {})
        one.write(1, 0, b"more\n", 1)
        assert one.size <= max(len(data), 16) + 100
        one.compact(64)
        one.load()
        assert next(one.back())[4].endswith(b"more\n")


@contextmanager
def memory(data: bytes) -> Iterator[int]:
    """A memfd with these bytes."""
    descriptor = os.memfd_create("fuzz")
    try:
        os.pwrite(descriptor, data, 0)
        yield descriptor
    finally:
        os.close(descriptor)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "address": address,
    "configuration": configuration,
    "control": control,
    "document": document,
    "expression": expression,
    "inbox": inbox,
    "journal": journal,
    "json": json,
    "message": message,
    "notify": notify,
    "ring": ring,
    "unit_file": unit_file,
}

if __name__ == "__main__":
    for path in sys.argv[2:]:
        TARGETS[sys.argv[1]](Path(path).read_bytes())
