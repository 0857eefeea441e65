"""The words of cgroup v2."""

from __future__ import annotations

import pytest

from ainit.policy import plan, resources
from tests.support.units import make_unit


def test_defaults_are_no_limits() -> None:
    assert resources.limits(make_unit()) == []
    unit = make_unit(memory_max=0, memory_swap_max=-1, cpu_max=0, cpus="", pids_max=0)
    assert resources.limits(unit) == []


def test_no_swap_is_a_limit() -> None:
    unit = make_unit(memory_swap_max=0)
    assert resources.limits(unit) == [("memory_swap_max", "memory.swap.max", "0")]


@pytest.mark.parametrize(
    ("percent", "text"), [(1, "1000 100000"), (150, "150000 100000"), (6400, "6400000 100000")]
)
def test_share_of_a_processor(percent: int, text: str) -> None:
    assert resources.limits(make_unit(cpu_max=percent)) == [("cpu_max", "cpu.max", text)]


def test_a_weight_of_disks_is_that_of_all_disks() -> None:
    assert resources.limits(make_unit(io_weight=50)) == [("io_weight", "io.weight", "default 50")]


def test_bytes_of_disks_are_of_all_disks() -> None:
    text = "8:0 rbytes=10 wbytes=2 rios=1\n8:16 rbytes=5 wbytes=x dbytes=3 rios=1\n"
    assert resources.io_bytes(text) == (15, 2)
    assert resources.io_bytes("") == (0, 0)


@pytest.mark.parametrize(
    ("field", "value", "file", "text", "without"),
    [
        ("memory_min", 1, "memory.min", "1", "0"),
        ("memory_low", 1, "memory.low", "1", "0"),
        ("memory_high", 1, "memory.high", "1", "max"),
        ("memory_max", 1, "memory.max", "1", "max"),
        ("memory_swap_max", 1, "memory.swap.max", "1", "max"),
        ("cpu_weight", 5, "cpu.weight", "5", "100"),
        ("cpu_max", 50, "cpu.max", "50000 100000", "max 100000"),
        ("cpus", "0-3", "cpuset.cpus", "0-3", "\n"),
        ("memory_nodes", "0", "cpuset.mems", "0", "\n"),
        ("io_weight", 5, "io.weight", "default 5", "default 100"),
        ("pids_max", 5, "pids.max", "5", "max"),
    ],
)
def test_each_limit_is_written_in_the_kernels_words(
    field: str, value: object, file: str, text: str, without: str
) -> None:
    assert resources.limits(make_unit(**{field: value})) == [(field, file, text)]
    assert resources.FILES[field] == (file, without)


def test_every_limit_of_a_unit_has_a_file() -> None:
    keys = {
        name
        for name in vars(plan.Unit)
        if name.startswith(("memory_", "cpu", "io_", "pids_")) and "pressure" not in name
    }
    assert keys == {*resources.FILES, "io_max"}


def test_the_guarantee_is_written_before_the_limit() -> None:
    unit = make_unit(memory_max=4, memory_high=3, memory_low=2, memory_min=1)
    assert [text for _, _, text in resources.limits(unit)] == ["1", "2", "3", "4"]


def test_a_limit_of_a_disk_that_is_zero_is_none() -> None:
    assert resources.io_limit("8:0", {"rbps": 0}) == "8:0 rbps=max wbps=max riops=max wiops=max"
    asked = {"rbps": 1, "wbps": 2, "riops": 3, "wiops": 4}
    assert resources.io_limit("8:0", asked) == "8:0 rbps=1 wbps=2 riops=3 wiops=4"
    assert resources.IO_MAX == "io.max"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1, "1"), (1 << 10, "1K"), (1536, "1536"), (1 << 30, "1G"), (3 << 40, "3T")],
)
def test_sizes_as_unit_files_say_them(count: int, text: str) -> None:
    assert resources.size(count) == text


def test_the_reason_of_a_death_names_the_limit() -> None:
    unit = make_unit(memory_max=64 << 20)
    words = "out of memory: the kernel killed the group (memory_max 64M)"
    assert resources.out_of_memory(unit, 3) == words
    assert resources.out_of_memory(unit, 0) == ""
    words = "out of memory: the kernel killed the group (the machine had none left)"
    assert resources.out_of_memory(make_unit(), 1) == words


def test_pressure_in_words() -> None:
    words = "memory pressure: tasks waited for memory for over 12.5 % of 10 s"
    assert resources.under_pressure(12.5, None) == words
    assert resources.under_pressure(12.5, 30.0) == f"{words} (average 30 %)"


@pytest.mark.parametrize(
    ("percent", "stall"), [(0.000001, 1), (0.1, 10_000), (20, 2_000_000), (100, 10_000_000)]
)
def test_triggers_are_within_what_the_kernel_takes(percent: float, stall: int) -> None:
    assert resources.pressure_trigger(percent) == f"some {stall} 10000000"


def test_lines_of_another_form_are_left_out() -> None:
    assert resources.flat("a 1\nb\n\nc x\nd -1\ne 2 3\nf 4") == {"a": 1, "f": 4}
    assert resources.io_bytes("") == (0, 0)
    assert resources.io_bytes("8:0 rbytes=x wbytes=-1 rbytes=\n") == (0, 0)


def test_the_average_is_that_of_some_tasks_over_ten_seconds() -> None:
    text = "some avg60=7.00 avg10=1.50 total=77\nfull avg10=0.25 avg60=0.00 total=5\n"
    assert resources.average(text) == 1.5
    assert resources.average("some avg60=7.00\nfull avg10=0.25\n") is None


@pytest.mark.parametrize("text", ["", "some", "some avg10=", "avg60=1", "some avg10=much"])
def test_no_average(text: str) -> None:
    assert resources.average(text) is None
