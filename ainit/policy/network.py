"""The ``[network]`` part of the machine configuration: tables in, a plan or every finding out.

    [network]
    dns = ["10.0.0.53"]
    ntp = ["10.0.0.123"]

    [[network.interface]]
    name = "uplink"
    kind = "bond"
    bond = { mode = "active-backup", members = ["eth0", "eth1"] }
    addresses = ["10.0.0.2/24", "fd00::2/64"]
    gateway4 = "10.0.0.1"

An Ethernet interface is known by ``name`` or by ``match``, a pattern over kernel names.
The first entry that fits wins. Interfaces that appear later are configured when they appear.
Leaves out: what the kernel has and how it is changed (``ainit.net``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import TypeVar

from ..errors import ConfigError, Finding
from . import addresses as value
from .toml import Table

MTU_MIN, MTU_MAX = 68, 65536  # RFC 791; the loopback's
MTU_MIN_IPV6 = 1280  # RFC 8200, section 5
VLAN_MIN, VLAN_MAX = 1, 4094  # IEEE 802.1Q; 0 and 4095 are reserved
BOND_MODES = (
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
)

NONE: tuple[str, ...] = ()

_T = TypeVar("_T")


class Kind(StrEnum):
    """What an interface is."""

    LOOPBACK = "loopback"
    ETHERNET = "ethernet"
    VLAN = "vlan"
    BOND = "bond"


@dataclass(frozen=True)
class Interface:
    """One interface as it should be. Exactly one of ``name`` and ``match`` is set; 0 is no MTU."""

    name: str = ""
    match: str = ""
    kind: Kind = Kind.ETHERNET
    dhcp4: bool = False
    addresses: tuple[str, ...] = ()
    gateway4: str = ""
    gateway6: str = ""
    mtu: int = 0
    vlan_id: int = 0
    vlan_parent: str = ""
    bond_mode: str = ""
    bond_members: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How messages call it."""
        return self.name or self.match


@dataclass(frozen=True)
class NetworkPlan:
    """Everything that the network service brings about."""

    dns: tuple[str, ...] = ()
    ntp: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    interfaces: tuple[Interface, ...] = field(default=())

    def to_record(self) -> dict[str, object]:
        """The plan as JSON values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> NetworkPlan:
        """The plan that ``to_record`` wrote down. Raises ConfigError for anything else."""
        try:
            return cls(
                dns=_texts(record.get("dns", ())),
                ntp=_texts(record.get("ntp", ())),
                search=_texts(record.get("search", ())),
                interfaces=tuple(_interface_of(each) for each in _list(record["interfaces"])),
            )
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError([Finding("network plan", 1, f"is none: {error}")]) from error


def _list(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise TypeError("not a list")
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in _list(value))


def _interface_of(entry: object) -> Interface:
    if not isinstance(entry, dict):
        raise TypeError("an interface is an object")
    lists = {key: _texts(entry[key]) for key in ("addresses", "bond_members")}
    return Interface(**{**entry, **lists, "kind": Kind(entry["kind"])})


def network(table: Table) -> tuple[dict[str, object], list[Finding]]:
    """The plan in the ``[network]`` table, as a record, and everything that is wrong with it."""
    findings = list(_unknown(table, ("dns", "ntp", "search", "interface")))
    reader = _Reader(table, findings)
    dns = reader.get("dns", value.each(value.address), NONE)
    ntp = reader.get("ntp", value.each(value.server), NONE)
    search = reader.get("search", value.each(value.domain), NONE)
    if len(dns) > 3:  # resolv.conf(5), MAXNS
        findings.append(
            table.finding("dns", "dns has at most 3 servers, the resolver reads no more")
        )
    try:
        tables = list(table.tables("interface"))
    except ConfigError as error:
        return {}, [*findings, *error.findings]
    read = [(entry, _interface(entry, findings)) for entry in tables]
    findings += _contradictions(read)
    plan = NetworkPlan(dns, ntp, search, tuple(interface for _, interface in read))
    return plan.to_record(), findings


class _Reader:
    """Reads the keys of one table; what is wrong goes to the findings, the default comes back."""

    def __init__(self, table: Table | None, findings: list[Finding]) -> None:
        self._table = table
        self._findings = findings

    def get(self, key: str, check: Callable[[object], _T], default: _T) -> _T:
        if self._table is None or key not in self._table.values:
            return default
        try:
            return check(self._table.values[key])
        except ValueError as error:
            self._findings.append(self._table.finding(key, f"{key} {error}"))
            return default


def _unknown(table: Table, known: Sequence[str]) -> Iterator[Finding]:
    for key in sorted(set(table.values) - set(known)):
        yield table.finding(key, f"unknown key {key} (known: {', '.join(known)})")


_KEYS = (
    "name", "match", "kind", "dhcp4", "addresses", "gateway4", "gateway6", "mtu", "vlan", "bond",
)  # fmt: skip


def _interface(table: Table, findings: list[Finding]) -> Interface:
    findings += _unknown(table, _KEYS)
    reader = _Reader(table, findings)
    vlan = _sub(table, "vlan", ("id", "parent"), findings)
    bond = _sub(table, "bond", ("mode", "members"), findings)
    return Interface(
        name=reader.get("name", value.name, ""),
        match=reader.get("match", value.text, ""),
        kind=reader.get("kind", _kind, Kind.ETHERNET),
        dhcp4=reader.get("dhcp4", value.flag, False),
        addresses=reader.get("addresses", value.each(value.cidr), NONE),
        gateway4=reader.get("gateway4", value.gateway(IPv4Address), ""),
        gateway6=reader.get("gateway6", value.gateway(IPv6Address), ""),
        mtu=reader.get("mtu", value.whole(MTU_MIN, MTU_MAX), 0),
        vlan_id=vlan.get("id", value.whole(VLAN_MIN, VLAN_MAX), 0),
        vlan_parent=vlan.get("parent", value.name, ""),
        bond_mode=bond.get("mode", _bond_mode, ""),
        bond_members=bond.get("members", value.each(value.name), NONE),
    )


def _sub(table: Table, key: str, known: Sequence[str], findings: list[Finding]) -> _Reader:
    try:
        sub = table.table(key)
    except ConfigError as error:
        findings += error.findings
        return _Reader(None, findings)
    findings += _unknown(sub, known)
    return _Reader(sub, findings)


def _contradictions(read: Sequence[tuple[Table, Interface]]) -> Iterator[Finding]:
    """What no single value shows: each interface alone, then all of them together."""
    for table, interface in read:
        yield from _alone(table, interface)
    yield from _family(read)
    for key in ("gateway4", "gateway6"):
        having = [table for table, interface in read if getattr(interface, key)]
        for table in having[1:]:
            yield table.finding(key, f"a second {key}: one interface leads to the world")


def _family(read: Sequence[tuple[Table, Interface]]) -> Iterator[Finding]:
    """Names, parents and members."""
    kinds: dict[str, Kind] = {}
    owners: dict[str, str] = {}
    for table, interface in read:
        if interface.name in kinds:
            yield table.finding("name", f"{interface.name} is configured twice")
        elif interface.name:
            kinds[interface.name] = interface.kind
        for member in interface.bond_members:
            if member in owners:
                yield table.finding("bond", f"{member} is a member of {owners[member]} already")
            owners[member] = interface.name
    for table, interface in read:
        parent = interface.vlan_parent
        if kinds.get(parent, Kind.ETHERNET) not in (Kind.ETHERNET, Kind.BOND):
            yield table.finding("vlan", f"parent {parent} is neither an ethernet nor a bond")
        for member in interface.bond_members:
            if kinds.get(member, Kind.ETHERNET) is not Kind.ETHERNET:
                yield table.finding("bond", f"member {member} is no ethernet interface")
        if interface.name in owners and (interface.dhcp4 or interface.addresses):
            owner = owners[interface.name]
            yield table.finding("name", f"{interface.name} belongs to {owner}: addresses go there")


def _alone(table: Table, interface: Interface) -> Iterator[Finding]:
    kind = interface.kind
    if bool(interface.name) == bool(interface.match):
        yield table.finding(None, "an interface has either a name or a match")
    if interface.match and kind is not Kind.ETHERNET:
        yield table.finding("match", f"match finds ethernet interfaces; a {kind} has a name")
    if (kind is Kind.LOOPBACK) != (interface.name == "lo"):
        yield table.finding("name", "the loopback interface is lo, and lo is the loopback")
    if kind is Kind.LOOPBACK and interface.dhcp4:
        yield table.finding("dhcp4", "nobody answers DHCP on the loopback")
    for key, wanted, complete in (
        ("vlan", Kind.VLAN, bool(interface.vlan_id and interface.vlan_parent)),
        ("bond", Kind.BOND, bool(interface.bond_mode and interface.bond_members)),
    ):
        if kind is wanted and not complete:
            parts = "id and a parent" if kind is Kind.VLAN else "mode and members"
            yield table.finding(key, f"a {kind} needs {key} with {parts}")
        if kind is not wanted and key in table.values:
            yield table.finding(key, f"{key} is for kind = {wanted.value!r}")
    nets = [ip_interface(address).network for address in interface.addresses]
    if any(net.version == 6 for net in nets) and 0 < interface.mtu < MTU_MIN_IPV6:
        yield table.finding("mtu", f"IPv6 needs an mtu of at least {MTU_MIN_IPV6} (RFC 8200)")
    for key in ("gateway4", "gateway6"):
        gateway = getattr(interface, key)
        if not gateway:
            continue
        address = ip_address(gateway)
        if not address.is_link_local and not any(address in net for net in nets):
            yield table.finding(key, f"{gateway} is in no network of this interface's addresses")


def _kind(value: object) -> Kind:
    if value not in [kind.value for kind in Kind]:
        raise ValueError("is one of " + ", ".join(Kind))
    return Kind(str(value))


def _bond_mode(value: object) -> str:
    if value not in BOND_MODES:
        raise ValueError("is one of " + ", ".join(BOND_MODES))
    return str(value)
