from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ainit.errors import DeadlineError
from ainit.net.engine import Engine
from ainit.net.lease import ASKING, Lease
from ainit.net.links import Link, Verb
from ainit.net.sntp import Answer
from ainit.policy.network import Interface, NetworkPlan
from tests.support.network import FakeLinks

DHCP = NetworkPlan(dns=("10.0.0.53",), interfaces=(Interface(match="eth*", dhcp4=True),))
BOUND = Lease(
    "bound", "10.1.0.9/16", "10.1.0.1", "10.1.0.1", ("10.1.0.53",), ("10.1.0.123",), "corp", 3600
)


class Rig:
    """The engine among fakes. ``report[name]`` is the voice of the DHCP client of an interface."""

    def __init__(self, folder: Path, plan: NetworkPlan, *links: Link) -> None:
        self.links = FakeLinks(*links)
        self.report: dict[str, Callable[[Lease], None]] = {}
        self.stopped: list[str] = []
        self.asked: list[str] = []
        self.steps: list[float] = []
        self.offset: float | None = 42.0
        self.file = folder / "resolv.conf"
        self.engine = Engine(
            plan, "host", self.links, self.keep, str(self.file), self.ask, self.steps.append
        )

    async def keep(self, name: str, hostname: str, report: Callable[[Lease], None]) -> None:
        assert hostname == "host"
        self.report[name] = report
        report(ASKING)
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.append(name)

    def ask(self, server: str) -> Answer:
        self.asked.append(server)
        if self.offset is None:
            raise DeadlineError(f"{server}: no answer in 5 s")
        return Answer(server, 2, self.offset, 0.01)

    def interface(self, name: str) -> dict[str, Any]:
        interfaces: Any = self.engine.status["interfaces"]
        return next((entry for entry in interfaces if entry["name"] == name), {"state": None})

    async def until(self, condition: Callable[[], object]) -> None:
        async def met() -> None:
            while not condition():
                await asyncio.sleep(0)

        await asyncio.wait_for(met(), 60)


def run(rig: Rig, scenario: Callable[[], Awaitable[None]]) -> None:
    async def both() -> None:
        ready = asyncio.Event()
        task = asyncio.create_task(rig.engine.run(ready.set))
        await asyncio.wait_for(ready.wait(), 60)
        await scenario()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(both())


def test_a_lease_becomes_address_route_and_name_servers(tmp_path: Path) -> None:
    rig = Rig(tmp_path, DHCP, Link(2, "eth0"))

    async def scenario() -> None:
        await rig.until(lambda: rig.interface("eth0")["state"] == "asking")
        rig.report["eth0"](BOUND)
        await rig.until(lambda: rig.interface("eth0")["state"] == "ready")
        assert rig.interface("eth0")["addresses"] == ["10.1.0.9/16"]
        assert rig.interface("eth0")["gateways"] == ["10.1.0.1"]
        assert rig.interface("eth0")["lease"]["server"] == "10.1.0.1"
        assert rig.engine.status["dns"] == ["10.0.0.53", "10.1.0.53"]
        assert "nameserver 10.1.0.53\nsearch corp\n" in rig.file.read_text()

    run(rig, scenario)


def test_a_lease_that_ends_takes_its_address_along(tmp_path: Path) -> None:
    rig = Rig(tmp_path, DHCP, Link(2, "eth0"))

    async def scenario() -> None:
        await rig.until(lambda: "eth0" in rig.report)
        rig.report["eth0"](BOUND)
        await rig.until(lambda: rig.interface("eth0")["state"] == "ready")
        rig.report["eth0"](replace(BOUND, address="10.1.0.10/16"))
        await rig.until(lambda: rig.interface("eth0")["addresses"] == ["10.1.0.10/16"])
        rig.report["eth0"](ASKING)
        await rig.until(lambda: rig.interface("eth0")["addresses"] == [])
        assert rig.interface("eth0")["state"] == "asking"
        assert "10.1.0.53" not in rig.file.read_text()

    run(rig, scenario)


def test_dhcp_follows_the_cable(tmp_path: Path) -> None:
    rig = Rig(tmp_path, DHCP)

    async def scenario() -> None:
        assert rig.report == {}
        rig.links.set(Link(5, "eth3", is_up=True))
        await rig.until(lambda: rig.interface("eth3")["state"] == "no carrier")
        assert rig.report == {}
        rig.links.set(Link(5, "eth3", is_up=True, has_carrier=True))
        await rig.until(lambda: "eth3" in rig.report)
        rig.links.set(Link(5, "eth3", is_up=True))
        await rig.until(lambda: rig.stopped == ["eth3"])
        rig.links.remove("eth3")
        await rig.until(lambda: len(rig.engine.status["interfaces"]) == 1)  # type: ignore[arg-type]

    run(rig, scenario)


def test_what_the_kernel_refuses_is_said_and_not_tried_for_ever(tmp_path: Path) -> None:
    plan = NetworkPlan(interfaces=(Interface("eth0", addresses=("10.0.0.2/24",)),))
    rig = Rig(tmp_path, plan, Link(2, "eth0"))
    rig.links.refuse = {Verb.ADD_ADDRESS}

    async def scenario() -> None:
        assert rig.interface("eth0")["state"] == "failed"
        assert rig.interface("eth0")["problem"].endswith("10.0.0.2/24: Operation not supported")
        rig.links.refuse = set()
        rig.links.set(replace(rig.links.links["eth0"], mtu=1400))
        await rig.until(lambda: rig.interface("eth0")["mtu"] == 1400)
        assert rig.interface("eth0")["state"] == "failed"
        rig.links.set(Link(3, "eth1"))  # another set of interfaces: it may work now
        await rig.until(lambda: rig.interface("eth0")["state"] == "ready")

    run(rig, scenario)


def test_what_is_configured_but_not_there_is_shown(tmp_path: Path) -> None:
    plan = NetworkPlan(interfaces=(Interface("eth9", dhcp4=True),))
    rig = Rig(tmp_path, plan, Link(2, "eth0", is_up=True))

    async def scenario() -> None:
        assert rig.interface("eth9")["state"] == "absent"
        assert rig.interface("eth0")["state"] == "unmanaged"
        assert rig.interface("lo")["state"] == "ready"

    run(rig, scenario)


@pytest.mark.parametrize(("offset", "steps"), [(42.0, [42.0]), (-0.05, [])])
def test_the_clock_is_set_when_it_is_off(tmp_path: Path, offset: float, steps: list[float]) -> None:
    rig = Rig(tmp_path, NetworkPlan(ntp=("a", "b")))
    rig.offset = offset
    assert asyncio.run(rig.engine.set_time())
    assert (rig.asked, rig.steps) == (["a"], steps)


def test_time_servers_that_do_not_answer_are_a_state(tmp_path: Path) -> None:
    rig = Rig(tmp_path, NetworkPlan(ntp=("a", "b")))
    rig.offset = None

    async def scenario() -> None:
        await rig.until(lambda: rig.engine.status["clock"]["problem"])  # type: ignore[index]

    run(rig, scenario)
    assert rig.asked[:2] == ["a", "b"]
    assert rig.engine.status["clock"] == {
        "synchronised": False,
        "server": "",
        "offset": 0.0,
        "problem": "b: no answer in 5 s",
    }


def test_the_time_servers_of_a_lease_are_asked(tmp_path: Path) -> None:
    rig = Rig(tmp_path, DHCP, Link(2, "eth0"))

    async def scenario() -> None:
        await rig.until(lambda: "eth0" in rig.report)
        rig.report["eth0"](BOUND)
        await rig.until(lambda: rig.engine.status["clock"]["synchronised"])  # type: ignore[index]

    run(rig, scenario)
    assert rig.asked == ["10.1.0.123"]
    assert rig.steps == [42.0]
