"""What there is for an agent: which mounts are made, in which order."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ainit.linux import libc, native
from ainit.policy.sandbox import Profile
from ainit.sandbox import view
from ainit.sandbox.facts import Device, Facts
from tests.unit.sandbox.test_operation import Recorder


class Texts(Recorder):
    """Addresses are numbers of texts."""

    __slots__ = ("texts",)

    def __init__(self) -> None:
        self.texts: list[str] = []
        super().__init__()

    def text(self, value: str) -> int:
        self.texts.append(value)
        return len(self.texts) - 1


def calls(record: dict[str, object] | None = None, **changes: object) -> list[tuple[object, ...]]:
    """The calls, their texts in place of addresses."""
    facts = Facts("notes", 61184, free=3, root="/run/ainit/root")
    for name, value in changes.items():
        setattr(facts, name, value)
    job = Texts()
    for step in view.operations(Profile(record or {}), facts):
        step.add(job)
    at = {native.MOUNT: (0, 1), native.MKDIRAT: (1,), native.MKNODAT: (1,), native.PIVOT_ROOT: (0,)}
    return [
        (number, *(job.texts[each] if place in at.get(number, ()) and each < len(job.texts)
                   else each for place, each in enumerate(arguments)))
        for number, arguments, *_ in job.calls
    ]  # fmt: skip


def mounts(found: list[tuple[object, ...]]) -> list[tuple[object, object]]:
    return [(each[1], each[2]) for each in found if each[0] == native.MOUNT]


def test_the_root_alone_comes_first_and_becomes_the_root_last() -> None:
    found = calls()
    assert mounts(found)[:2] == [("none", "/"), ("/", "/run/ainit/root")]
    root = next(each for each in found if each[:3] == (native.MOUNT, "/", "/run/ainit/root"))
    assert root[4] == libc.MS_BIND  # without MS_REC: nothing that is mounted in it
    assert [each[0] for each in found[-3:]] == [native.PIVOT_ROOT, native.UMOUNT, native.CHDIR]


def test_a_certificate_has_one_place_in_every_view() -> None:
    found = mounts(calls(identity="/run/ainit/identity/notes"))
    assert ("/run/ainit/identity/notes", "run/identity") in found
    assert not any("identity" in str(target) for _, target in mounts(calls()))


def test_every_target_but_the_root_is_within_it() -> None:
    targets = [str(target) for _, target in mounts(calls(bundle="/run/ainit/agents/notes"))[2:]]
    assert [each for each in targets if each.startswith("/")] == []


def test_places_are_made_above_what_is_bound() -> None:
    found = calls(bundle="/run/ainit/agents/notes", sockets=[])
    made = [each[2] for each in found if each[0] == native.MKDIRAT]
    assert made.index("run/ainit") < made.index("run/ainit/agents")
    assert made.index("run/ainit/agents") < made.index("run/ainit/agents/notes")
    assert len(made) == len(set(made))


def test_what_lies_in_another_is_bound_after_it_and_makes_nothing(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    found = calls({"read": [str(tmp_path)], "write": [str(inner)]})
    bound = [source for source, _ in mounts(found)]
    assert bound.index(str(tmp_path)) < bound.index(str(inner))
    made = [each[2] for each in found if each[0] == native.MKDIRAT]
    assert str(inner)[1:] not in made


def test_a_file_is_bound_over_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    found = calls({"read": [str(file)]})
    node = next(each for each in found if each[:3] == (native.MKNODAT, -100, str(file)[1:]))
    assert stat.S_ISREG(int(str(node[3])))


def test_exactly_the_nodes_that_it_was_given() -> None:
    given = Device("/dev/nvidia-caps/nvidia-cap1", stat.S_IFCHR | 0o444, 0xEE01)
    found = calls(devices=[given])
    nodes = [each[2:] for each in found if each[0] == native.MKNODAT]
    names = [str(each[0]) for each in nodes]
    assert names == [
        "dev/null", "dev/zero", "dev/full", "dev/random", "dev/urandom",
        "dev/nvidia-caps/nvidia-cap1",
    ]  # fmt: skip
    assert nodes[-1][1:] == (stat.S_IFCHR | 0o444, 0xEE01)


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="nonexistent"):
        calls({"read": ["/tmp/nonexistent"]})
