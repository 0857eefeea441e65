"""``ainitctl network``: interfaces, leases, the clock."""

from __future__ import annotations

from .conftest import Run, Serve

LEASE = {
    "state": "bound", "address": "10.0.2.15/24", "gateway": "10.0.2.2", "server": "10.0.2.2",
    "dns": ["10.0.2.3"], "ntp": [], "domain": "", "seconds": 86400,
}  # fmt: skip
INTERFACE = {
    "name": "eth0", "state": "ready", "mac": "52:54:00:12:34:56", "mtu": 1500, "carrier": True,
    "addresses": ["10.0.2.15/24", "fd00::2/64"], "gateways": ["10.0.2.2"], "lease": LEASE,
    "problem": "",
}  # fmt: skip
CLOCK = {"synchronised": True, "server": "10.0.2.2", "offset": -0.25, "problem": ""}
STATUS = {"interfaces": [INTERFACE], "dns": ["10.0.2.3"], "search": [], "clock": CLOCK}
METHOD = "org.ainos.Network.Status"


def test_network_status(run: Run, serve: Serve) -> None:
    serve({METHOD: STATUS})
    out = run("network", "status").out
    assert "10.0.2.15/24, fd00::2/64" in out
    assert "lease from 10.0.2.2 for 1d 0h" in out
    assert "name servers  10.0.2.3" in out
    assert "synchronised with 10.0.2.2, was off by -0.250 s" in out


def test_what_is_wrong_is_shown(run: Run, serve: Serve) -> None:
    absent = {**INTERFACE, "name": "eth1", "state": "absent", "lease": None, "addresses": []}
    failed = {**INTERFACE, "name": "eth2", "state": "failed", "problem": "MTU 9000 was refused"}
    asking = {**INTERFACE, "name": "eth3", "state": "asking"}
    asking["lease"] = {**LEASE, "state": "no server answered"}
    clock = {**CLOCK, "synchronised": False, "problem": "10.0.2.2 did not answer"}
    serve({METHOD: {**STATUS, "interfaces": [absent, failed, asking], "clock": clock}})
    out = run("network", "status").out
    assert "eth1       absent" in out
    assert "MTU 9000 was refused" in out
    assert "no server answered" in out
    assert "10.0.2.2 did not answer" in out
