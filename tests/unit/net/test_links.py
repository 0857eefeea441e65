from __future__ import annotations

import asyncio

import pytest

from ainit.net.links import Link, decide, entry_for
from ainit.policy.network import Interface, Kind, NetworkPlan
from tests.support.network import FakeLinks


def converge(plan: NetworkPlan, links: FakeLinks) -> list[str]:
    """What is done until nothing is left to do."""

    async def run() -> None:
        for _ in range(8):
            operations = decide(plan, await links.observe())
            if not operations:
                return
            for operation in operations:
                await links.apply(operation)
        raise AssertionError(f"it never ends: {links.done}")

    asyncio.run(run())
    return links.done


def test_without_a_plan_only_the_loopback_comes_up() -> None:
    assert converge(NetworkPlan(), FakeLinks(Link(2, "eth0"))) == ["lo: bring up"]


def test_a_static_interface() -> None:
    plan = NetworkPlan(
        interfaces=(
            Interface(
                "eth0",
                mtu=9000,
                addresses=("10.0.0.2/24", "fd00::2/64"),
                gateway4="10.0.0.1",
                gateway6="fd00::1",
            ),
        )
    )
    assert converge(plan, FakeLinks(Link(2, "eth0"), Link(3, "eth1"))) == [
        "lo: bring up",
        "eth0: set mtu 9000",
        "eth0: bring up",
        "eth0: add address 10.0.0.2/24",
        "eth0: add address fd00::2/64",
        "eth0: add default route 10.0.0.1",
        "eth0: add default route fd00::1",
    ]


BONDED = NetworkPlan(
    interfaces=(
        Interface(
            "v5", kind=Kind.VLAN, vlan_id=5, vlan_parent="uplink", addresses=("10.5.0.2/24",)
        ),
        Interface("uplink", kind=Kind.BOND, bond_mode="802.3ad", bond_members=("eth0", "eth1")),
        Interface("eth0", mtu=9000),
        Interface(match="eth*", dhcp4=True),
    )
)


def test_a_vlan_on_a_bond_whose_members_were_up() -> None:
    up = Link(2, "eth0", is_up=True, has_carrier=True)
    assert converge(BONDED, FakeLinks(up, Link(3, "eth1"))) == [
        "uplink: create bond 802.3ad",
        "lo: bring up",
        "eth0: set mtu 9000",
        "v5: create vlan 5",
        "eth0: take down",
        "eth0: enslave uplink",
        "eth1: enslave uplink",
        "uplink: bring up",
        "v5: bring up",
        "v5: add address 10.5.0.2/24",
    ]


def test_a_bond_that_the_driver_made_gets_its_mode_before_its_members() -> None:
    bond = Link(2, "uplink", "bond", bond_mode="balance-rr")
    done = converge(BONDED, FakeLinks(bond, Link(3, "eth0"), Link(4, "eth1")))
    assert done.index("uplink: set bond mode 802.3ad") < done.index("eth0: enslave uplink")
    assert "uplink: create bond 802.3ad" not in done


def test_a_member_that_comes_later_joins() -> None:
    links = FakeLinks(Link(2, "eth0"))
    converge(BONDED, links)
    links.done.clear()
    links.links["eth1"] = Link(9, "eth1")
    assert converge(BONDED, links) == ["eth1: enslave uplink"]


def test_what_dhcp_granted_is_added_beside_what_is_static() -> None:
    plan = NetworkPlan(interfaces=(Interface("eth0", dhcp4=True, addresses=("10.0.0.2/24",)),))
    link = Link(2, "eth0", is_up=True)
    operations = decide(plan, [link], {"eth0": ("10.1.0.9/16", "10.1.0.1"), "eth1": ("x", "y")})
    assert [str(operation) for operation in operations] == [
        "eth0: add address 10.0.0.2/24",
        "eth0: add address 10.1.0.9/16",
        "eth0: add default route 10.1.0.1",
    ]


@pytest.mark.parametrize(
    ("link", "label"),
    [
        (Link(1, "lo", is_loopback=True), None),
        (Link(2, "eth7"), "eth7"),  # by name, though a pattern comes first
        (Link(3, "eth8"), "eth*"),
        (Link(4, "enp3s0"), "e*"),
        (Link(5, "eth9", "vlan"), None),
        (Link(6, "e1"), None),  # a member of a bond
        (Link(7, "wlan0"), None),
    ],
)
def test_names_come_before_patterns_and_the_first_pattern_wins(
    link: Link, label: str | None
) -> None:
    plan = NetworkPlan(
        interfaces=(
            Interface(match="eth*"),
            Interface(match="e*"),
            Interface("eth7"),
            Interface("b", kind=Kind.BOND, bond_members=("e1",)),
        )
    )
    entry = entry_for(link, plan)
    assert (entry and entry.label) == label
