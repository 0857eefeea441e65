"""The kernel's settings: all that can be set are, and what cannot is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.linux import kmsg
from ainit.pid1 import settings


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(kmsg, "log", lambda text, _level=0: lines.append(text))
    return lines


def kernel(root: Path, *without: str) -> None:
    """A kernel that has every setting but some."""
    for name, _, _ in settings.TABLE:
        if name not in without:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("as it was")


def test_every_setting_is_set(tmp_path: Path, told: list[str]) -> None:
    kernel(tmp_path)
    settings.apply(str(tmp_path))
    assert {name: (tmp_path / name).read_text() for name, _, _ in settings.TABLE} == {
        name: value for name, value, _ in settings.TABLE
    }
    assert told == []


def test_a_setting_is_named_once() -> None:
    names = [name for name, _, _ in settings.TABLE]
    assert len(set(names)) == len(names)


def test_what_a_kernel_may_lack_is_no_matter(tmp_path: Path, told: list[str]) -> None:
    lacking = [name for name, _, may_lack in settings.TABLE if may_lack]
    assert "kernel/yama/ptrace_scope" in lacking
    kernel(tmp_path, *(name for name, _, _ in settings.TABLE))
    settings.apply(str(tmp_path))
    assert set(told).isdisjoint(f"{name}: this kernel has no such setting" for name in lacking)
    assert len(told) == len(settings.TABLE) - len(lacking)


def test_what_cannot_be_set_is_told_and_the_rest_is_set(tmp_path: Path, told: list[str]) -> None:
    gone = [name for name, _, _ in settings.TABLE if name.startswith("fs/")]
    kernel(tmp_path, "kernel/kptr_restrict", *gone)  # writing to /proc makes no file
    (tmp_path / "kernel/kptr_restrict").mkdir()
    settings.apply(str(tmp_path))
    assert told == [
        "kernel/kptr_restrict cannot be set to 2: Is a directory",
        *(f"{name}: this kernel has no such setting" for name in gone),
    ]
    assert (tmp_path / "net/ipv4/tcp_syncookies").read_text() == "1"


def test_ima_is_given_its_rule_once(tmp_path: Path, told: list[str]) -> None:
    policy = tmp_path / "policy"
    policy.write_text("")
    settings.measure_files(str(policy))
    assert policy.read_text() == settings.IMA_RULE
    given = "measure func=FILE_CHECK mask=MAY_READ fsname=ext4 template=ima-ngv2 digest_type=verity"
    policy.write_text(given)  # as the kernel writes it
    settings.measure_files(str(policy))
    assert policy.read_text() == given
    assert told == []


def test_a_kernel_without_ima_is_told(tmp_path: Path, told: list[str]) -> None:
    settings.measure_files(str(tmp_path / "policy"))
    assert told == ["IMA does not log what is read: No such file or directory"]
