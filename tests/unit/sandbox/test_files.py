"""Who may do what with which file, as rules; the kernel's answer is in ``tests/contract``."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.linux import landlock
from ainit.linux.landlock import EXECUTE, IOCTL_DEV, READ_FILE, RESOLVE_UNIX, WRITE_FILE
from ainit.policy.sandbox import Profile
from ainit.sandbox import files
from ainit.sandbox.facts import Facts


def facts(**changes: object) -> Facts:
    made = Facts("notes", 61184, free=5, root="/nonexistent")
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def rules(record: dict[str, object] | None = None, **changes: object) -> dict[str, int]:
    return files.rules(Profile(record or {}), facts(**changes))


def test_the_tightest_profile_writes_to_its_own_memory_only() -> None:
    found = rules()
    assert {path for path, rights in found.items() if rights & WRITE_FILE} == {"/tmp", "/dev"}
    assert {path for path, rights in found.items() if rights & IOCTL_DEV} == set()
    executable = {path for path, rights in found.items() if rights & EXECUTE}
    assert "/usr/bin/python3" in executable
    assert not executable & {"/usr", "/usr/bin", "/usr/lib", "/tmp", "/etc"}


def test_what_is_measured_for_it_is_read_and_its_code_executed(tmp_path: Path) -> None:
    found = rules(bundle="/run/b", extensions=["/run/e"], directories=["/run/m"])
    assert (found["/run/b"], found["/run/e"], found["/run/m"]) == (
        files.RUN, files.RUN, files.READ,
    )  # fmt: skip


def test_a_file_gets_no_rights_of_directories(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    found = rules({"write": [str(file)], "read": [str(tmp_path)]})
    assert found[str(file)] & ~landlock.OF_FILES == 0
    assert found[str(file)] & WRITE_FILE
    assert found[str(tmp_path)] == files.READ


@pytest.mark.parametrize("written", [False, True])
def test_what_is_written_is_executed_only_when_that_is_meant(tmp_path: Path, written: bool) -> None:
    found = rules({"write": [str(tmp_path)], "execute_written": written})
    assert bool(found[str(tmp_path)] & EXECUTE) is written
    assert bool(found["/tmp"] & EXECUTE) is written


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="nonexistent"):
        rules({"read": ["/nonexistent"]})


def test_a_gpu_is_asked_and_names_its_threads() -> None:
    found = files.rules(Profile({}, has_gpu=True), facts())
    assert found["/dev"] & IOCTL_DEV
    assert found["/proc"] & WRITE_FILE  # /proc/self/task/*/comm, by cuInit
    assert found["/sys"] == files.READ


def test_a_socket_is_resolved_where_the_kernel_asks(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    path.touch()
    assert rules(sockets=[str(path)])[str(path)] == RESOLVE_UNIX
    step = files.ruleset(Profile({}), facts(sockets=[str(path)]), 6)
    later = files.ruleset(Profile({}), facts(sockets=[str(path)]), 9)
    count = [int(each.describe().split()[4]) for each in (step, later)]
    assert count[1] == count[0] + 3


def test_a_certificate_is_read() -> None:
    assert rules(identity="/run/ainit/identity/notes")["/run/identity"] == files.READ
    assert "/run/identity" not in rules()


def test_models_are_ruled_by_their_descriptors() -> None:
    bare = files.ruleset(Profile({}), facts(), 6).describe()
    two = files.ruleset(Profile({}), facts(files=range(3, 5)), 6).describe()
    assert int(two.split()[4]) == int(bare.split()[4]) + 2


@pytest.mark.parametrize(
    ("abi", "expected"),
    [
        (0, (0, 0, 0)),
        (1, ((1 << 13) - 1, 0, 0)),
        (3, ((1 << 15) - 1, 0, 0)),
        (4, ((1 << 15) - 1, 3, 0)),
        (5, ((1 << 16) - 1, 3, 0)),
        (6, ((1 << 16) - 1, 3, 3)),
        (9, ((1 << 17) - 1, 3, 3)),
    ],
)
def test_every_right_of_an_abi_is_handled(abi: int, expected: tuple[int, int, int]) -> None:
    assert landlock.handled(abi) == expected


def test_structures_have_the_kernel_s_sizes() -> None:
    assert len(landlock.ruleset(1, 2, 3)) == 24
    assert len(landlock.path_rule(READ_FILE, 3)) == 12  # packed
    assert len(landlock.port_rule(1, 443)) == 16
