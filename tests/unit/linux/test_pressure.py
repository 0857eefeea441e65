"""Triggers of the kernel's own, on the pressure that a test can make: that on the processor."""

from __future__ import annotations

import errno
import os
import select
from contextlib import ExitStack
from pathlib import Path

import pytest

from ainit.linux import pressure
from ainit.linux.pressure import NoPressureError
from tests.support import descriptors
from tests.support.groups import member, real_groups

BUSY = ("/usr/bin/env", "taskset", "-c", "0", "/bin/sh", "-c", "while :; do :; done")
ONE_PER_CENT = "some 20000 2000000"


def waited(descriptor: int) -> int:
    """What a trigger has within a minute."""
    poll = select.poll()
    poll.register(descriptor, pressure.PRESSED)
    return dict(poll.poll(60_000)).get(descriptor, 0)


def test_a_trigger_tells_of_pressure_and_of_the_end_of_its_group() -> None:
    with real_groups() as tree, ExitStack() as stack:
        for _ in range(2):  # on one processor: each waits for the other
            stack.enter_context(member(tree, "a", *BUSY))
        path = f"{tree.path('a')}/cpu.pressure"
        descriptor = pressure.open_trigger(path, ONE_PER_CENT)
        stack.callback(os.close, descriptor)
        assert not os.get_inheritable(descriptor)
        assert waited(descriptor) == pressure.PRESSED
        assert pressure.average(path) is not None
        tree.kill("a")
        while not tree.remove("a"):
            pass
        assert waited(descriptor) & pressure.GONE


def test_a_trigger_that_the_kernel_refuses_names_the_file() -> None:
    before = len(descriptors.at_first())
    with pytest.raises(OSError, match=f"Invalid argument.*{pressure.MACHINE}") as caught:
        pressure.open_trigger(pressure.MACHINE, "some 2 1")
    assert not isinstance(caught.value, NoPressureError)
    assert len(descriptors.now()) == before


def test_a_kernel_without_stall_information_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoPressureError, match=r"^the kernel keeps no account of stalls"):
        pressure.open_trigger(str(tmp_path / "memory.pressure"), ONE_PER_CENT)
    assert pressure.average(str(tmp_path / "memory.pressure")) is None


def test_a_kernel_that_was_started_without_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With psi=0 the files are there, and every access is refused."""

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    (tmp_path / "memory.pressure").touch()
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(NoPressureError, match="not supported"):
        pressure.open_trigger(str(tmp_path / "memory.pressure"), ONE_PER_CENT)


@pytest.mark.parametrize("text", ["", "garbage", "some avg10=often avg60=0"])
def test_a_file_that_says_nothing_is_no_average(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.pressure").write_text(text)
    assert pressure.average(str(tmp_path / "memory.pressure")) is None
