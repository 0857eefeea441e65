from __future__ import annotations

import json

import pytest

from ainit.errors import ConfigError
from ainit.policy.network import Interface, Kind, NetworkPlan, network
from ainit.policy.toml import parse

FULL = """
[network]
dns = ["10.0.0.53", "fd00::53"]
ntp = ["10.0.0.123", "time.example.org"]
search = ["corp.example"]

[[network.interface]]
name = "lo"
kind = "loopback"
addresses = ["10.255.0.1/32"]

[[network.interface]]
name = "uplink"
kind = "bond"
bond = { mode = "802.3ad", members = ["eth0", "eth1"] }
mtu = 9000
addresses = ["10.0.0.2/24", "fd00::2/64"]
gateway4 = "10.0.0.1"
gateway6 = "fe80::1"

[[network.interface]]
name = "storage"
kind = "vlan"
vlan = { id = 7, parent = "uplink" }
dhcp4 = true

[[network.interface]]
match = "enp*"
dhcp4 = true
"""


def read(text: str) -> tuple[NetworkPlan, list[str]]:
    record, findings = network(parse(text, "m.toml").table("network"))
    plan = NetworkPlan.from_record(record) if not findings else NetworkPlan()
    return plan, [str(finding) for finding in findings]


def test_everything_that_can_be_said() -> None:
    plan, findings = read(FULL)
    assert findings == []
    assert (plan.dns, plan.ntp) == (("10.0.0.53", "fd00::53"), ("10.0.0.123", "time.example.org"))
    assert plan.search == ("corp.example",)
    lo, uplink, storage, others = plan.interfaces
    assert (lo.kind, lo.addresses) == (Kind.LOOPBACK, ("10.255.0.1/32",))
    assert (uplink.bond_mode, uplink.bond_members) == ("802.3ad", ("eth0", "eth1"))
    assert (uplink.gateway4, uplink.gateway6, uplink.mtu) == ("10.0.0.1", "fe80::1", 9000)
    assert (storage.vlan_id, storage.vlan_parent, storage.dhcp4) == (7, "uplink", True)
    assert others == Interface(match="enp*", dhcp4=True)
    assert [each.label for each in plan.interfaces] == ["lo", "uplink", "storage", "enp*"]


def test_a_plan_survives_json() -> None:
    plan, _ = read(FULL)
    assert NetworkPlan.from_record(json.loads(json.dumps(plan.to_record()))) == plan


def test_an_interface_of_which_nothing_is_said_has_nothing() -> None:
    said = {key: value for key, value in Interface().__dict__.items() if value}
    assert said == {"kind": Kind.ETHERNET}


def test_no_network_is_a_plan_too() -> None:
    assert read("") == (NetworkPlan(), [])


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"interfaces": 1},
        {"interfaces": [1]},
        {"interfaces": [{"name": "eth0"}]},
        {"interfaces": [{**Interface("a").__dict__, "kind": "wifi"}]},
        {"interfaces": [{**Interface("a").__dict__, "more": 1}]},
        {"interfaces": [], "dns": "10.0.0.1"},
    ],
)
def test_what_is_no_plan_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="network plan:1: is none"):
        NetworkPlan.from_record(record)


def test_an_interface_of_a_record_is_an_object() -> None:
    with pytest.raises(ConfigError, match="is none: an interface is an object"):
        NetworkPlan.from_record({"interfaces": ["eth0"]})


def entry(text: str, name: str = 'name = "eth0"') -> str:
    return f"[[network.interface]]\n{name}\n{text}\n"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("[network]\nwifi = 1", "m.toml:2: unknown key wifi (known: dns, ntp, search, interface)"),
        ("[network]\ndns = 'x'", "m.toml:2: dns is a list"),
        ("[network]\ndns = ['x']", "m.toml:2: dns holds IP addresses"),
        ("[network]\ndns = ['::1', '::1']", "m.toml:2: dns names something twice"),
        (
            "[network]\ndns = ['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4']",
            "m.toml:2: dns has at most 3 servers, the resolver reads no more",
        ),
        ("[network]\nntp = ['a b']", "m.toml:2: ntp holds domain names"),
        ("[network]\ninterface = 1", "m.toml:2: interface is an array of tables: [[interface]]"),
        (entry("x = 1"), "m.toml:3: unknown key x"),
        (
            entry("kind = 'vlan'\nvlan = { id = 5, parent = 'a', x = 1 }"),
            "m.toml:4: unknown key x (known: id, parent)",
        ),
        (entry("dhcp4 = 'yes'"), "m.toml:3: dhcp4 is true or false"),
        (entry("mtu = 67"), "m.toml:3: mtu is a whole number from 68 to 65536"),
        (entry("mtu = true"), "m.toml:3: mtu is a whole number"),
        (entry("kind = 'wifi'"), "m.toml:3: kind is one of loopback, ethernet, vlan, bond"),
        (entry("addresses = ['10.0.0.2']"), "m.toml:3: addresses holds addresses of one machine"),
        (entry("addresses = ['10.0.0.2/33']"), "m.toml:3: addresses holds addresses like"),
        (entry("addresses = ['224.0.0.1/4']"), "m.toml:3: addresses holds addresses of one mach"),
        (entry("gateway4 = 'fd00::1'"), "m.toml:3: gateway4 is an address"),
        (
            entry("addresses = ['10.0.0.2/24']\ngateway4 = '10.0.1.1'"),
            "m.toml:4: 10.0.1.1 is in no network of this interface's addresses",
        ),
        (
            entry("addresses = ['fd00::2/64']\nmtu = 1000"),
            "m.toml:4: IPv6 needs an mtu of at least 1280 (RFC 8200)",
        ),
        (
            entry("kind = 'vlan'\nvlan = { id = 4095, parent = 'a' }"),
            "m.toml:4: id is a whole number from 1 to 4094",
        ),
        (entry("vlan = 5"), "m.toml:3: vlan is a table"),
        (entry("vlan = { id = 5, parent = 'a' }"), "m.toml:3: vlan is for kind = 'vlan'"),
        (entry("kind = 'vlan'"), "m.toml:1: a vlan needs vlan with id and a parent"),
        (entry("kind = 'vlan'\nvlan = { id = 5 }"), "m.toml:4: a vlan needs vlan with id and a"),
        (entry("kind = 'vlan'\nvlan = { parent = 'a' }"), "m.toml:4: a vlan needs vlan with id"),
        (
            entry("kind = 'bond'\nbond = { mode = '802.3ad' }"),
            "m.toml:4: a bond needs bond with mode and members",
        ),
        (entry("kind = 'bond'\nbond = { members = ['a'] }"), "m.toml:4: a bond needs bond with"),
        (entry("kind = 'bond'"), "m.toml:1: a bond needs bond with mode and members"),
        (
            entry("kind = 'bond'\nbond = { mode = 'x' }"),
            "m.toml:4: mode is one of balance-rr, active-backup",
        ),
        (entry("kind = 'loopback'"), "m.toml:2: the loopback interface is lo"),
        (entry("", "name = 'lo'"), "m.toml:2: the loopback interface is lo"),
        (entry("", "dhcp4 = true"), "m.toml:1: an interface has either a name or a match"),
        (entry("match = 'e*'"), "m.toml:1: an interface has either a name or a match"),
        (entry("kind = 'bond'", "match = 'e*'"), "m.toml:2: match finds ethernet interfaces"),
        (entry("", "name = 'a-name-that-is-too-long'"), "m.toml:2: name is an interface name"),
        (entry("", "name = '../x'"), "m.toml:2: name is an interface name"),
        (entry("") + entry(""), "m.toml:5: eth0 is configured twice"),
        (
            entry("dhcp4 = true")
            + entry("kind='bond'\nbond={mode='802.3ad', members=['eth0']}", "name = 'b'"),
            "m.toml:2: eth0 belongs to b: addresses go there",
        ),
        (
            entry("addresses = ['10.0.0.2/24']")
            + entry("kind='bond'\nbond={mode='802.3ad', members=['eth0']}", "name = 'b'"),
            "m.toml:2: eth0 belongs to b: addresses go there",
        ),
        (
            entry("kind='loopback'", "name = 'lo'")
            + entry("kind='vlan'\nvlan={id=1, parent='lo'}", "name = 'v'"),
            "m.toml:7: parent lo is neither an ethernet nor a bond",
        ),
        (
            entry("addresses=['10.0.0.2/8']\ngateway4='10.0.0.1'")
            + entry("addresses=['10.0.0.3/8']\ngateway4='10.0.0.1'", "name = 'eth1'"),
            "m.toml:8: a second gateway4: one interface leads to the world",
        ),
        (entry("addresses = [5]"), "m.toml:3: addresses"),
        (entry("", "name = 5"), "m.toml:2: name"),
        (
            entry("kind='bond'\nbond={mode='802.3ad', members=['eth0']}", "name = 'b'")
            + entry("kind='bond'\nbond={mode='802.3ad', members=['eth0']}", "name = 'c'"),
            "m.toml:8: eth0 is a member of b already",
        ),
        (
            entry("kind='bond'\nbond={mode='802.3ad', members=['b']}", "name = 'a'")
            + entry("kind='bond'\nbond={mode='802.3ad', members=['eth0']}", "name = 'b'"),
            "m.toml:4: member b is no ethernet interface",
        ),
        (
            entry("kind='loopback'\ndhcp4=true", "name = 'lo'"),
            "m.toml:4: nobody answers DHCP on the loopback",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, finding: str) -> None:
    _, findings = read(text)
    assert any(found.startswith(finding) for found in findings), findings


@pytest.mark.parametrize(
    "text",
    [
        "[network]\ndns = ['1.1.1.1', '1.1.1.2', '1.1.1.3']",
        entry("addresses = ['fd00::2/64']"),
        entry("addresses = ['fd00::2/64']\nmtu = 1280"),
        entry("addresses = ['10.0.0.2/24']\nmtu = 1000"),
        entry("mtu = 9000")
        + entry("kind='bond'\nbond={mode='802.3ad', members=['eth0']}", "name = 'b'"),
        *(
            entry(f"kind='vlan'\nvlan={{id={number}, parent='not-configured'}}", "name = 'v'")
            for number in (1, 4094)
        ),
        *(
            entry(f"kind='bond'\nbond={{mode='{mode}', members=['eth0']}}", "name = 'b'")
            for mode in (
                *("balance-rr", "active-backup", "balance-xor", "broadcast"),
                *("802.3ad", "balance-tlb", "balance-alb"),
            )
        ),
    ],
)
def test_what_is_right(text: str) -> None:
    assert read(text)[1] == []


def test_every_finding_is_reported() -> None:
    _, findings = read("[network]\ndns = 1\n" + entry("mtu = 0\nx = 1\nkind = 2"))
    assert sorted(int(finding.split(":")[1]) for finding in findings) == [2, 5, 6, 7]
