"""Which process of a forking unit is the main one."""

from __future__ import annotations

import pytest

from ainit.linux import process
from ainit.linux.cgroup import Tree
from ainit.pid1 import deaths
from tests.support.units import make_unit

DAEMON, OTHER, HELPER = 11, 12, 13


@pytest.mark.parametrize(
    ("members", "main"),
    [
        ([DAEMON], DAEMON),
        ([HELPER, DAEMON], DAEMON),  # the child of another is none of PID 1's
        ([DAEMON, OTHER], 0),
        ([HELPER], 0),
        ([], 0),
    ],
)
def test_the_only_one_that_pid_1_adopted(
    monkeypatch: pytest.MonkeyPatch, members: list[int], main: int
) -> None:
    monkeypatch.setattr(process, "parent", {DAEMON: 1, OTHER: 1, HELPER: DAEMON}.__getitem__)
    tree = Tree("/nonexistent")
    monkeypatch.setattr(tree, "pids", lambda name: members)
    assert deaths.main(make_unit("sysv"), tree, lambda pid: False) == main


def test_a_probe_is_no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "parent", {DAEMON: 1, OTHER: 1}.__getitem__)
    tree = Tree("/nonexistent")
    monkeypatch.setattr(tree, "pids", lambda name: [DAEMON, OTHER])
    assert deaths.main(make_unit("sysv"), tree, lambda pid: pid == OTHER) == DAEMON
