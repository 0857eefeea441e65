"""The service as a process, against a PID 1 that has real rings and starts over."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.log_host import LogHost
from tests.support.service import Service
from tests.support.units import make_unit
from tests.support.wait import wait_for

NAME = "org.ainos.Log"


class Machine:
    """A PID 1 in a thread, and the service where the test wants it."""

    def __init__(self, folder: Path, host: LogHost) -> None:
        self.folder = folder
        self.host = host

    @property
    def files(self) -> Path:
        return self.folder / "state/log"

    @contextmanager
    def service(self, *, boot: str = "", wrapper: tuple[str, ...] = ()) -> Iterator[Service]:
        """The service; ``boot`` is the kernel's name for the boot, its own when empty."""
        before = [
            "import ainit.constants as constants",
            f"constants.STATE = {str(self.folder / 'state')!r}",
            f"constants.CONTROL = {self.host.path!r}",
        ]
        if boot:
            (self.folder / "boot_id").write_text(f"{boot}\n")
            before += [
                "import pathlib",
                "read = pathlib.Path.read_text",
                f"boot = pathlib.Path({str(self.folder / 'boot_id')!r})",
                "other = lambda path: boot if path.name == 'boot_id' else path",
                "pathlib.Path.read_text = lambda self, **how: read(other(self), **how)",
            ]
        made = self.folder / "run"
        made.mkdir(exist_ok=True)
        for old in made.iterdir():
            old.unlink()
        with Service("ainit.log", made, before="\n".join(before), wrapper=wrapper) as service:
            yield service

    def say(self, unit: str, *texts: str) -> None:
        for text in texts:
            self.host.do(partial(self.host.logs.say, unit, text))

    def written(self, unit: str) -> list[str]:
        """The lines of a unit's files, the oldest first."""
        found: list[str] = []
        for name in (f"{unit}.3", f"{unit}.2", f"{unit}.1", unit):
            path = self.files / f"{name}.jsonl"
            if path.exists():
                lines = [json.loads(line) for line in path.read_text().splitlines()]
                found += [line["text"] for line in lines if "text" in line]
        return found

    def wait_written(self, unit: str, text: str) -> None:
        wait_for(lambda: text in self.written(unit), f"{text} to be in the file of {unit}")


@pytest.fixture
def machine(sockets: Path) -> Iterator[Machine]:
    with LogHost(sockets) as host:
        host.start()
        (sockets / "state").mkdir()
        yield Machine(sockets, host)


def texts(reply: dict[str, object]) -> list[str]:
    lines = reply["lines"]
    assert isinstance(lines, list)
    return [str(line["text"]) for line in lines]


def test_what_was_written_before_it_started_and_after_is_in_the_files(machine: Machine) -> None:
    writer = machine.host.do(lambda: machine.host.logs.pipe("u"))
    os.write(writer, b'<3>early\n{"a": 1}\nha')
    machine.say("v", "starting")
    with machine.service() as service:
        machine.wait_written("u", '{"a": 1}')
        os.write(writer, b"lf\n")
        os.close(writer)
        machine.wait_written("u", "half")
        machine.wait_written("v", "starting")
        lines = service.call(f"{NAME}.Read", unit="u")["lines"]
        assert isinstance(lines, list)
        shown = [(line["text"], line["priority"], line["fields"]) for line in lines]
        assert shown == [("early", 3, None), ('{"a": 1}', 6, {"a": 1}), ("half", 6, None)]
        assert texts(service.call(f"{NAME}.Read", priority=3)) == ["early"]
        assert sorted(texts(service.call(f"{NAME}.Read"))) == sorted(
            ["early", '{"a": 1}', "half", "starting"]
        )
        status = service.call(f"{NAME}.Status")
        assert (status["lost"], status["missed"], status["problem"]) == (0, 0, "")
        assert status["bytes"] == sum(path.stat().st_size for path in machine.files.glob("*.jsonl"))


def test_killed_anywhere_it_repeats_and_loses_nothing(machine: Machine) -> None:
    expected: list[str] = []
    for turn in range(4):
        with machine.service():
            for number in range(40):
                expected.append(f"{turn} {number}")
                machine.say("u", expected[-1])
            wait_for(lambda: len(machine.written("u")) > len(expected) - 40, "lines of this turn")
    with machine.service():
        machine.wait_written("u", expected[-1])
    assert machine.written("u") == expected


def test_it_goes_on_when_pid_1_starts_over(machine: Machine) -> None:
    with machine.service() as service:
        machine.say("u", "one")
        machine.wait_written("u", "one")
        for number in range(3):
            machine.host.do(machine.host.start_over)
            machine.say("u", f"after {number}")
            machine.wait_written("u", f"after {number}")
        assert machine.written("u") == ["one", "after 0", "after 1", "after 2"]
        assert "Traceback" not in service.output()


def test_boots_are_told_apart(machine: Machine, sockets: Path) -> None:
    machine.say("u", "of the first")
    with machine.service(boot="aaaa") as service:
        machine.wait_written("u", "of the first")
    machine.host.do(machine.host.forget)
    machine.say("u", "of the second")
    with machine.service(boot="bbbb") as service:
        machine.wait_written("u", "of the second")
        boots = service.call(f"{NAME}.Boots")["boots"]
        assert isinstance(boots, list)
        assert [boot["id"] for boot in boots] == ["aaaa", "bbbb"]
        first, second = ["of the first"], ["of the second"]
        for name, expected in (("previous", first), ("a", first), ("current", second)):
            assert texts(service.call(f"{NAME}.Read", boot=name)) == expected
        with pytest.raises(Exception, match="NoSuchBoot"):
            service.call(f"{NAME}.Read", boot="c")


def test_units_that_are_not_to_be_kept_are_not(machine: Machine) -> None:
    machine.host.do(lambda: machine.host.logs.configure([make_unit("v", log_persistent=False)]))
    with machine.service():
        machine.say("v", "secret")
        machine.say("u", "public")
        machine.wait_written("u", "public")
    assert machine.written("v") == []


def test_a_full_disk_is_said_and_counted_and_it_goes_on(machine: Machine) -> None:
    """A limit on the size of files stands for a disk without room."""
    limited = ("/usr/bin/prlimit", "--fsize=4096")
    with machine.service(wrapper=limited) as service:
        machine.say("u", "first")
        machine.wait_written("u", "first")
        machine.say("u", *("x" * 1000 + str(number) for number in range(12)))
        machine.say("v", "small")
        machine.wait_written("v", "small")
        wait_for(lambda: lost(service) > 0, "lost lines")
        assert service.output().count("<3>the logs cannot be written") == 1
    kept = machine.written("u")
    assert kept[0] == "first"
    assert (machine.files / "u.jsonl").stat().st_size <= 4096


def lost(service: Service) -> int:
    number = service.call(f"{NAME}.Status")["lost"]
    assert isinstance(number, int)
    return number


def test_asked_to_end_it_writes_what_there_is(machine: Machine) -> None:
    with machine.service() as service:
        machine.say("u", "last words")
        service._process.send_signal(signal.SIGTERM)
        assert service._process.wait(60) == 0
    assert machine.written("u") == ["last words"]


@pytest.mark.parametrize(
    "parameters", [{"unit": "../u"}, {"since": "1"}, {"since": True}, {"lines": "1"}, {"boot": 1}]
)
def test_a_wrong_call_is_told_so(machine: Machine, parameters: dict[str, object]) -> None:
    with machine.service() as service, pytest.raises(Exception, match="InvalidParameter"):
        service.call(f"{NAME}.Read", **parameters)


def test_without_a_place_for_its_files_it_says_so_and_ends(machine: Machine) -> None:
    (machine.folder / "state").rmdir()
    (machine.folder / "state").write_text("no directory")
    with pytest.raises(AssertionError, match="the logs cannot be kept"), machine.service():
        pass
