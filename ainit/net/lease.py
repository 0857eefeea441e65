"""DHCPv4 on one interface, by pyroute2's client, which this module restarts whenever it stops.

A lease is kept in memory only: a machine that boots asks anew, and nothing that a server once said
outlives the boot. The client neither blocks nor gives up; ``Lease.state`` shows what it is doing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_interface

from pyroute2.dhcp import leases
from pyroute2.dhcp.client import AsyncDHCPClient, ClientConfig
from pyroute2.dhcp.enums.dhcp import Option
from pyroute2.dhcp.fsm import State
from pyroute2.dhcp.hooks import Hook, Trigger
from pyroute2.netlink.exceptions import NetlinkError

RESTART_SECONDS = 5.0
STOP_SECONDS = 2.0
_WANTED = (
    Option.SUBNET_MASK,
    Option.ROUTER,
    Option.NAME_SERVER,
    Option.DOMAIN_NAME,
    Option.NTP_SERVERS,
    Option.LEASE_TIME,
    Option.RENEWAL_TIME,
    Option.REBINDING_TIME,
)
# Seconds in a state without an answer until the client starts over with a new transaction.
_PATIENCE = {State.REBOOTING: 10, State.REQUESTING: 30, State.SELECTING: 300}


@dataclass(frozen=True)
class Lease:
    """What a server granted. ``state`` is asking, bound, or why there is none."""

    state: str
    address: str = ""
    gateway: str = ""
    server: str = ""
    dns: tuple[str, ...] = ()
    ntp: tuple[str, ...] = ()
    domain: str = ""
    seconds: int = 0


ASKING = Lease("asking")


class _Granted(leases.Lease):  # type: ignore[misc, unused-ignore]
    """pyroute2's lease, kept nowhere."""

    def dump(self) -> None:
        """Nothing is written."""

    @classmethod
    def load(cls, interface: str) -> None:
        """Nothing is read."""


def granted(lease: leases.Lease) -> Lease:
    """The part of a server's answer that matters here. Raises ValueError for a bad address."""
    options = lease.ack["options"]
    address = ip_interface(f"{lease.ip}/{options.get('subnet_mask', '255.255.255.255')}")
    if address.ip.is_unspecified or address.ip.is_multicast or address.ip.is_loopback:
        raise ValueError(f"the server offers {address.ip}")
    return Lease(
        state="bound",
        address=str(address),
        gateway=next(iter(options.get("router", ())), ""),
        server=options.get("server_id", ""),
        dns=tuple(options.get("name_server", ())),
        ntp=tuple(options.get("ntp_servers", ())),
        domain=_domain(options.get("domain_name", "")),
        seconds=options["lease_time"],
    )


def _domain(value: object) -> str:
    """The domain name, unless it would say something else in resolv.conf."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    text = text.rstrip("\0")
    return text if text.replace("-", "x").replace(".", "x").isalnum() and text.isascii() else ""


async def keep(interface: str, hostname: str, report: Callable[[Lease], None]) -> None:
    """Get a lease and keep it until cancelled; ``report`` is told each change."""
    while True:
        report(ASKING)
        try:
            await _client(interface, hostname, report)
            problem = "the client stopped"
        except (OSError, NetlinkError, ValueError, LookupError) as error:
            problem = str(error)
        report(Lease(problem))
        await asyncio.sleep(RESTART_SECONDS)


async def _client(interface: str, hostname: str, report: Callable[[Lease], None]) -> None:
    """One run of pyroute2's client; returns or raises when one of its tasks ends."""

    async def have(lease: leases.Lease) -> None:
        report(granted(lease))

    async def lose(lease: leases.Lease) -> None:  # noqa: ARG001 - pyroute2 calls it by name
        report(ASKING)

    client = AsyncDHCPClient(
        ClientConfig(
            interface=interface,
            lease_type=_Granted,
            hooks=(
                Hook(have, {Trigger.BOUND, Trigger.RENEWED, Trigger.REBOUND}),
                Hook(lose, {Trigger.UNBOUND, Trigger.EXPIRED}),
            ),
            requested_parameters=_WANTED,
            timeouts=dict(_PATIENCE),
            release=False,
            handle_signals=False,
            vendor_id="ainos",
            host_name=hostname,
        )
    )
    await client.__aenter__()
    tasks = [task for task in (client._receiver_task, client._sender_task) if task is not None]
    try:
        await client.bootstrap()
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        # Its own way out waits for tasks that may never end once their socket is dead.
        client.lease_timers.cancel()
        for task in (*tasks, client._state_watchdog):
            if task is not None:
                task.cancel()
        await asyncio.wait(tasks, timeout=STOP_SECONDS)
        await client._sock.__aexit__()
