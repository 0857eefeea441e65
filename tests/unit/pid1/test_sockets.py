"""Sockets of units: who gets them, what starts a unit, and what a new PID 1 takes over."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ainit.pid1.journal import Forgetful
from ainit.pid1.limit import TriggerLimit
from ainit.pid1.loop import Loop
from ainit.pid1.sockets import Sockets
from ainit.policy.plan import Unit
from tests.support import descriptors


class Keeper(Forgetful):
    """Notes which descriptors would survive."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[str, ...]] = {}

    def keep(self, descriptor: int, role: tuple[str, ...]) -> None:
        assert descriptor not in self.kept
        os.fstat(descriptor)
        self.kept[descriptor] = role

    def drop(self, descriptor: int) -> None:
        os.fstat(descriptor)  # still open
        del self.kept[descriptor]


class Bench:
    """Sockets on a real loop."""

    def __init__(self, directory: Path, bench: Bench | None = None) -> None:
        self.directory = directory
        self.loop = Loop()
        self.loop.hook(lambda now: now + 0.001)
        self.keeper: Keeper = bench.keeper if bench else Keeper()
        self.starts: list[tuple[str, str]] = []
        self.holds: list[tuple[str, str]] = []
        self.now = 0.0
        self.sockets = Sockets(
            self.loop,
            self.keeper,
            kept={role: number for number, role in self.keeper.kept.items()},
            start=lambda name, why: self.starts.append((name, why)),
            hold=lambda name, why: self.holds.append((name, why)),
            owner=lambda unit: (unit.user, unit.user),
            directory=str(directory / "units"),
            limit=TriggerLimit(starts=3, seconds=10.0, now=lambda: self.now),
        )

    def unit(self, name: str, *listen: str, **keys: object) -> Unit:
        sockets = [{"listen": self.address(each), "backlog": 4, "name": name} for each in listen]
        return Unit.from_record(
            {"name": name, "kind": "service", "sockets": sockets, "on_demand": True, **keys}
        )

    def address(self, short: str) -> str:
        kind, _, rest = short.partition(":")
        return f"{kind}:{self.directory}/{rest}" if kind.startswith("unix") else short

    def connect(self, name: str) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.directory / name))
        return client


def name_of(descriptor: int) -> object:
    with socket.socket(fileno=os.dup(descriptor)) as channel:
        return channel.getsockname()


@pytest.fixture
def bench(sockets: Path) -> Iterator[Bench]:
    bench = Bench(sockets)
    yield bench
    for name in list(bench.sockets._open):
        bench.sockets.close(name)
    assert bench.keeper.kept == {}


def test_a_unit_gets_its_sockets_in_order_and_by_name(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x", "unix-datagram:y", provides=["org.x"])
    unit.sockets = [{**unit.sockets[0], "name": "web"}, unit.sockets[1]]
    bench.sockets.open(unit)
    descriptors, names = bench.sockets.descriptors(unit)
    assert names == ["varlink", "web", "a"]
    paths = [name_of(each) for each in descriptors]
    assert paths == [str(bench.directory / each) for each in ("units/a", "x", "y")]
    assert bench.sockets.descriptors(unit) == (descriptors, names)
    assert set(bench.keeper.kept) == set(descriptors)


def test_sockets_block_whatever_the_last_to_have_them_wanted(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x", provides=["org.x"])
    for _ in range(2):
        descriptors, _ = bench.sockets.descriptors(unit)
        assert [os.get_blocking(each) for each in descriptors] == [True, True]
        for each in descriptors:
            os.set_blocking(each, False)
    mode = stat.S_IMODE((bench.directory / "units" / "a").stat().st_mode)
    assert mode == 0o600


def test_a_unit_without_sockets_gets_none(bench: Bench) -> None:
    assert bench.sockets.descriptors(Unit("a", "service")) == ([], [])


def test_the_first_connection_starts_a_unit_once(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x", "unix:y")
    bench.sockets.open(unit)
    bench.sockets.watch(unit)
    bench.loop.turn()
    assert bench.starts == []
    with bench.connect("y"), bench.connect("x"):
        for _ in range(3):
            bench.loop.turn()
    assert len(bench.starts) == 1
    name, why = bench.starts[0]
    assert name == "a"
    assert why in [f"a connection to unix:{bench.directory}/{each}" for each in "xy"]


def test_a_datagram_starts_a_unit_and_is_left_for_it(bench: Bench) -> None:
    unit = bench.unit("a", "unix-datagram:x")
    bench.sockets.open(unit)
    bench.sockets.watch(unit)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"hello", str(bench.directory / "x"))
    bench.loop.turn()
    assert [name for name, _ in bench.starts] == ["a"]
    descriptors, _ = bench.sockets.descriptors(unit)
    assert os.read(descriptors[0], 16) == b"hello"


def test_a_unit_that_is_up_is_not_started_by_its_clients(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x")
    bench.sockets.open(unit)
    bench.sockets.watch(unit)
    bench.sockets.unwatch("a")
    with bench.connect("x"):
        bench.loop.turn()
        assert bench.starts == []
        bench.sockets.watch(unit)  # it went down with the client still waiting
        bench.loop.turn()
    assert len(bench.starts) == 1


def test_a_unit_that_is_not_on_demand_is_not_watched(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x", on_demand=False)
    bench.sockets.open(unit)
    bench.sockets.watch(unit)
    with bench.connect("x"):
        bench.loop.turn()
    assert bench.starts == []


def test_a_unit_that_fails_at_once_does_not_spin(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x")
    bench.sockets.open(unit)
    with bench.connect("x"):
        for _ in range(20):
            bench.sockets.watch(unit)
            bench.loop.turn()
    assert len(bench.starts) == 3
    reason = f"what waits at unix:{bench.directory}/x started it 3 times in 10 s"
    assert bench.holds == [("a", reason)]


def test_one_that_was_held_and_then_started_by_hand_is_on_demand_again(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x")
    bench.sockets.open(unit)
    with bench.connect("x"):
        for _ in range(10):
            bench.sockets.watch(unit)
            bench.loop.turn()
        bench.sockets.unwatch("a")
        bench.sockets.watch(unit)
        bench.loop.turn()
    assert (len(bench.starts), len(bench.holds)) == (4, 1)


def test_starts_that_are_far_apart_are_no_reason_to_hold(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x")
    bench.sockets.open(unit)
    with bench.connect("x"):
        for _ in range(20):
            bench.now += 4.0
            bench.sockets.watch(unit)
            bench.loop.turn()
    assert (len(bench.starts), bench.holds) == (20, [])


def test_a_new_pid_1_takes_the_sockets_over_with_who_waits_there(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x", provides=["org.x"])
    descriptors, _ = bench.sockets.descriptors(unit)
    with bench.connect("x"):
        later = Bench(bench.directory, bench)
        later.sockets.open(unit)
        assert later.sockets.descriptors(unit)[0] == descriptors
        later.sockets.watch(unit)
        later.loop.turn()
    assert [name for name, _ in later.starts] == ["a"]


def test_what_a_former_pid_1_had_and_this_one_has_not_is_closed(bench: Bench) -> None:
    bench.sockets.open(bench.unit("a", "unix:x"))
    bench.sockets.open(bench.unit("b", "unix:y"))
    later = Bench(bench.directory, bench)
    later.sockets.retain({"b"})
    assert sorted(role[1] for role in bench.keeper.kept.values()) == ["b"]
    assert not (bench.directory / "x").exists()
    bench.sockets._open.pop("a")


def test_a_unit_that_is_gone_leaves_no_socket(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x", provides=["org.x"])
    bench.sockets.open(unit)
    bench.sockets.watch(unit)
    bench.sockets.close("a")
    bench.sockets.close("a")
    assert bench.keeper.kept == {}
    assert list((bench.directory / "units").iterdir()) == []
    assert not (bench.directory / "x").exists()
    bench.loop.turn()


def test_a_changed_unit_keeps_the_sockets_that_it_still_has(bench: Bench) -> None:
    bench.sockets.open(bench.unit("a", "unix:x", "unix:y"))
    with bench.connect("y"):
        changed = bench.unit("a", "unix:y", "unix:z")
        bench.sockets.watch(changed)
        bench.sockets.open(changed)
        bench.loop.turn()
    assert sorted(role[2] for role in bench.keeper.kept.values()) == [
        bench.address("unix:y"),
        bench.address("unix:z"),
    ]
    assert not (bench.directory / "x").exists()
    assert len(bench.starts) == 1


def test_another_mode_or_owner_is_set_on_the_open_socket(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x")
    before = bench.sockets.descriptors(unit)
    unit.sockets = [{**unit.sockets[0], "mode": 0o600}]
    unit.user = 77
    assert bench.sockets.descriptors(unit) == before
    found = (bench.directory / "x").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, 77)


def test_a_socket_whose_name_was_taken_away_is_opened_anew(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x")
    bench.sockets.open(unit)
    (bench.directory / "x").unlink()
    bench.sockets.descriptors(unit)
    bench.connect("x").close()
    assert len(bench.keeper.kept) == 1


def test_a_socket_whose_name_another_one_took_is_opened_anew(bench: Bench) -> None:
    unit = bench.unit("a", "unix:x")
    bench.sockets.open(unit)
    (bench.directory / "x").unlink()
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(str(bench.directory / "x"))
        bench.sockets.descriptors(unit)
    bench.connect("x").close()
    assert len(bench.keeper.kept) == 1


def test_an_address_that_is_taken_is_named(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp:127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(OSError, match=f"{address}: Address already in use"):
            bench.sockets.open(bench.unit("a", address))
    bench.sockets.open(bench.unit("a", address))  # later it is free


def test_a_keeper_that_fails_leaves_no_descriptor(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, role: tuple[str, ...]) -> None:
        raise MemoryError

    before = len(descriptors.at_first())
    with monkeypatch.context() as patch:
        patch.setattr(bench.keeper, "keep", full)
        with pytest.raises(MemoryError):
            bench.sockets.open(bench.unit("a", "unix:x"))
    assert len(descriptors.now()) == before
