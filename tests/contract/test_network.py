"""The network service in a network namespace of its own: real netlink, a real DHCP server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ainit.policy.network import Interface, NetworkPlan
from tests.support.service import REPOSITORY, Service
from tests.support.wait import wait_for

# The service is the child of unshare, which takes the whole namespace down with it: --kill-child.
NAMESPACE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "sh", "-euc")
PAIR = """
ip link add cable type veth peer name eth0
ip link set cable up
ip address add 10.7.0.1/24 dev cable
"""
DNSMASQ = """
dnsmasq --conf-file=/dev/null --port=0 --interface=cable --bind-interfaces --keep-in-foreground \
  --leasefile-ro --no-ping --dhcp-range=10.7.0.50,10.7.0.50,255.255.255.0,2m \
  --dhcp-option=option:router,10.7.0.254 --dhcp-option=option:dns-server,10.7.0.53,10.7.0.54 \
  --dhcp-option=option:domain-name,corp.example </dev/null >/dev/null 2>&1 &
"""


def network(folder: Path, plan: NetworkPlan, setup: str) -> Service:
    """The service under a plan, in a namespace that ``setup`` furnished."""
    machine = folder / "machine.json"
    machine.write_text(json.dumps({"hostname": "ainos", "network": plan.to_record()}))
    before = (
        "import ainit.constants as constants\n"
        f"constants.MACHINE_JSON, constants.RUNTIME = {str(machine)!r}, {str(folder)!r}\n"
        "assert constants.RUNTIME.startswith('/tmp'), 'a test never writes elsewhere'\n"
        "import time\n"
        "time.clock_settime = None\n"
    )
    return Service(
        "ainit.net", folder, before=before, wrapper=(*NAMESPACE, setup + 'exec "$@"', "sh")
    )


def interface(service: Service, name: str) -> dict[str, Any]:
    status: Any = service.call("org.ainos.Network.Status")
    found = [entry for entry in status["interfaces"] if entry["name"] == name]
    return found[0] if found else {}


def state(service: Service, name: str, wanted: str) -> Callable[[], object]:
    return lambda: interface(service, name).get("state") == wanted and interface(service, name)


def test_static_addresses_routes_and_mtu(tmp_path: Path) -> None:
    plan = NetworkPlan(
        dns=("10.7.0.53",),
        search=("corp.example",),
        interfaces=(
            Interface(
                "eth0",
                addresses=("10.7.0.2/24", "fd00::2/64"),
                gateway4="10.7.0.254",
                gateway6="fd00::1",
                mtu=1400,
            ),
        ),
    )
    with network(tmp_path, plan, PAIR) as service:
        found: Any = wait_for(state(service, "eth0", "ready"), "the interface")
        assert found["mtu"] == 1400
        assert {"10.7.0.2/24", "fd00::2/64"} <= set(found["addresses"])
        assert set(found["gateways"]) == {"10.7.0.254", "fd00::1"}
        assert interface(service, "lo")["addresses"] == ["127.0.0.1/8", "::1/128"]
        assert interface(service, "cable")["state"] == "unmanaged"
        assert (
            "nameserver 10.7.0.53\nsearch corp.example\n" in (tmp_path / "resolv.conf").read_text()
        )


def test_a_lease_from_a_real_server(tmp_path: Path) -> None:
    assert shutil.which("dnsmasq"), "the package dnsmasq-base is missing"
    plan = NetworkPlan(interfaces=(Interface(match="eth*", dhcp4=True),))
    with network(tmp_path, plan, PAIR + DNSMASQ) as service:
        found: Any = wait_for(state(service, "eth0", "ready"), "a lease")
        assert "10.7.0.50/24" in found["addresses"]
        assert found["gateways"] == ["10.7.0.254"]
        lease = found["lease"]
        assert (lease["state"], lease["address"], lease["server"], lease["seconds"]) == (
            "bound",
            "10.7.0.50/24",
            "10.7.0.1",
            120,
        )
        assert (
            "nameserver 10.7.0.53\nnameserver 10.7.0.54\nsearch corp.example\n"
            in (tmp_path / "resolv.conf").read_text()
        )


def test_without_a_dhcp_server_it_asks_on_and_stays_ready(tmp_path: Path) -> None:
    plan = NetworkPlan(interfaces=(Interface(match="eth*", dhcp4=True),))
    with network(tmp_path, plan, PAIR) as service:
        found: Any = wait_for(state(service, "eth0", "asking"), "the interface")
        assert found["lease"]["state"] == "asking"

        def clock() -> bool:
            status: Any = service.call("org.ainos.Network.Status")
            return bool(status["clock"]["problem"] == "no time server is configured")

        wait_for(clock, "the state of the clock")


def test_an_interface_that_appears_later_is_configured(tmp_path: Path) -> None:
    plan = NetworkPlan(interfaces=(Interface("eth0", addresses=("10.7.0.2/24",)),))
    late = "(read _ < gate; " + PAIR.replace("\n", ";").strip(";") + ") &\n"
    gate = tmp_path / "gate"
    subprocess.run(["mkfifo", str(gate)], check=True, timeout=60)
    with network(tmp_path, plan, f"cd {tmp_path}\n{late}cd /\n") as service:
        assert interface(service, "eth0")["state"] == "absent"
        gate.write_text("go\n")
        found: Any = wait_for(state(service, "eth0", "ready"), "the interface")
        assert "10.7.0.2/24" in found["addresses"]


def test_a_machine_configuration_without_a_network_plan_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_text("{}")
    code = (
        f"import sys; sys.path.append({str(REPOSITORY)!r})\n"
        "import ainit.constants as constants\n"
        f"constants.MACHINE_JSON = {str(tmp_path / 'machine.json')!r}\n"
        "from ainit.net.__main__ import main\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "holds no network plan" in done.stderr
