"""What to do to the kernel's interfaces so that they become what the plan says. PURE.

``decide`` compares what is with what should be and returns operations in an order that works:
bonds before their members, members before anything comes up, parents before VLANs, addresses before
routes. It is called again after every change, so an operation that depends on another's result
simply comes in the next round, and interfaces that appear later are like those that were there.

Leaves out: taking anything away. The plan holds for one boot, and the kernel starts with nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from ..policy.network import Interface, Kind, NetworkPlan

ANY = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True)
class Link:
    """An interface as the kernel shows it. ``kind`` is its driver's word, empty for hardware."""

    index: int
    name: str
    kind: str = ""
    mac: str = ""
    mtu: int = 1500
    is_loopback: bool = False
    is_up: bool = False
    has_carrier: bool = False
    master: int = 0
    bond_mode: str = ""
    addresses: frozenset[str] = frozenset()
    gateways: frozenset[str] = frozenset()


class Verb(StrEnum):
    """What an operation does."""

    CREATE_BOND = "create bond"
    CREATE_VLAN = "create vlan"
    SET_BOND_MODE = "set bond mode"
    SET_MTU = "set mtu"
    TAKE_DOWN = "take down"
    ENSLAVE = "enslave"
    BRING_UP = "bring up"
    ADD_ADDRESS = "add address"
    ADD_ROUTE = "add default route"


@dataclass(frozen=True)
class Operation:
    """One change. ``index`` is the interface, 0 for a new one; ``other`` its parent or master."""

    verb: Verb
    name: str
    index: int = 0
    value: str = ""
    number: int = 0
    other: int = 0

    def __str__(self) -> str:
        detail = self.value or (str(self.number) if self.number else "")
        return f"{self.name}: {self.verb} {detail}".rstrip()


def is_ethernet(link: Link) -> bool:
    """Whether ``match`` may choose the interface: hardware, or what virtual machines are given."""
    return not link.is_loopback and link.kind not in ("bond", "vlan", "bridge")


def entry_for(link: Link, plan: NetworkPlan) -> Interface | None:
    """The plan's entry for a link: by name, else the first pattern that fits."""
    for entry in plan.interfaces:
        if entry.name == link.name:
            return entry
    if is_ethernet(link) and not any(link.name in e.bond_members for e in plan.interfaces):
        for entry in plan.interfaces:
            if entry.match and fnmatchcase(link.name, entry.match):
                return entry
    return None


def decide(
    plan: NetworkPlan, links: Sequence[Link], granted: Mapping[str, tuple[str, str]] | None = None
) -> list[Operation]:
    """The operations that can be done now, in order; none when everything is as planned.

    ``granted`` holds what DHCP gave to an interface, by its name: address and gateway.
    """
    by_name = {link.name: link for link in links}
    operations = list(_creations(plan, by_name))
    operations += [
        Operation(Verb.BRING_UP, link.name, link.index)
        for link in links
        if link.is_loopback and not link.is_up
    ]
    operations += _enslavements(plan, by_name)
    ready: list[Operation] = []
    for link in links:
        entry = entry_for(link, plan)
        if entry is not None:
            operations += _basics(link, entry, plan)
            ready += _addresses(link, _with_lease(entry, (granted or {}).get(link.name)))
    return operations + ready


def _creations(plan: NetworkPlan, links: dict[str, Link]) -> Iterator[Operation]:
    for entry in plan.interfaces:
        if entry.name in links:
            continue
        if entry.kind is Kind.BOND:
            yield Operation(Verb.CREATE_BOND, entry.name, value=entry.bond_mode)
        elif entry.kind is Kind.VLAN and (parent := links.get(entry.vlan_parent)):
            yield Operation(Verb.CREATE_VLAN, entry.name, number=entry.vlan_id, other=parent.index)


def _enslavements(plan: NetworkPlan, links: dict[str, Link]) -> Iterator[Operation]:
    """A member must be down to become one (Documentation/networking/bonding.rst)."""
    for entry in plan.interfaces:
        bond = links.get(entry.name)
        if entry.kind is not Kind.BOND or bond is None:
            continue
        if bond.bond_mode != entry.bond_mode:  # the driver makes a bond0 of its own when it starts
            yield Operation(Verb.SET_BOND_MODE, bond.name, bond.index, entry.bond_mode)
        for name in entry.bond_members:
            member = links.get(name)
            if member is not None and member.master != bond.index:
                if member.is_up:
                    yield Operation(Verb.TAKE_DOWN, name, member.index)
                yield Operation(Verb.ENSLAVE, name, member.index, entry.name, other=bond.index)


def _with_lease(entry: Interface, granted: tuple[str, str] | None) -> Interface:
    if granted is None or not granted[0]:
        return entry
    address, gateway = granted
    addresses = (*entry.addresses, address)
    return replace(entry, addresses=addresses, gateway4=entry.gateway4 or gateway)


def _basics(link: Link, entry: Interface, plan: NetworkPlan) -> Iterator[Operation]:
    if entry.mtu and link.mtu != entry.mtu:
        yield Operation(Verb.SET_MTU, link.name, link.index, number=entry.mtu)
    is_member = any(link.name in other.bond_members for other in plan.interfaces)
    if not link.is_up and not is_member and not link.is_loopback:
        yield Operation(Verb.BRING_UP, link.name, link.index)


def _addresses(link: Link, entry: Interface) -> Iterator[Operation]:
    if not link.is_up:
        return
    for address in entry.addresses:
        if address not in link.addresses:
            yield Operation(Verb.ADD_ADDRESS, link.name, link.index, address)
    for gateway in (entry.gateway4, entry.gateway6):
        if gateway and gateway not in link.gateways:
            yield Operation(Verb.ADD_ROUTE, link.name, link.index, gateway)
