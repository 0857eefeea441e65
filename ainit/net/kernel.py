"""Netlink: the interfaces as they are, and changes to them. The seam to pyroute2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, Self

from pyroute2.iproute.linux import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_LINK

from ..errors import UnavailableError
from .links import ANY, Link, Operation, Verb

IFF_UP, IFF_LOOPBACK, IFF_LOWER_UP = 0x1, 0x8, 0x10000  # linux/if.h
METRIC = 1024
RTNH_F_ONLINK = 4  # linux/rtnetlink.h
MIIMON_MS = 100  # how often a bond looks at its members' carriers


class Links(Protocol):
    """What the engine needs of the kernel."""

    async def observe(self) -> list[Link]:
        """Every interface, by index."""
        ...

    async def apply(self, operation: Operation) -> None:
        """Do it. Raises UnavailableError with the kernel's words."""
        ...

    async def remove_address(self, index: int, address: str) -> None:
        """Take an address away; one that is gone already is fine."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """One item for each change of an interface."""
        ...


class Netlink:
    """The kernel of this network namespace. Use it as an asynchronous context manager."""

    def __init__(self) -> None:
        self._route = AsyncIPRoute()
        self._events = AsyncIPRoute()

    async def __aenter__(self) -> Self:
        await self._events.bind(RTMGRP_LINK)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._route.close()
        self._events.close()

    async def observe(self) -> list[Link]:
        """See Links."""
        addresses: dict[int, set[str]] = {}
        async for message in await self._route.addr("dump"):
            local = message.get("local") or message.get("address")
            if local is not None:
                text = f"{local}/{message['prefixlen']}"
                addresses.setdefault(message["index"], set()).add(text)
        gateways: dict[int, set[str]] = {}
        async for message in await self._route.route("dump"):
            if message["dst_len"] == 0 and message.get("gateway") and message.get("oif"):
                gateways.setdefault(message.get("oif"), set()).add(message.get("gateway"))
        messages = [message async for message in await self._route.link("dump")]
        links = [_link(message, addresses, gateways) for message in messages]
        return sorted(links, key=lambda link: link.index)

    async def apply(self, operation: Operation) -> None:
        """See Links."""
        route, index = self._route, operation.index
        try:
            match operation.verb:
                case Verb.CREATE_BOND:
                    await route.link(
                        "add",
                        ifname=operation.name,
                        kind="bond",
                        bond_mode=_BOND_MODES[operation.value],
                        bond_miimon=MIIMON_MS,
                    )
                case Verb.CREATE_VLAN:
                    await route.link(
                        "add",
                        ifname=operation.name,
                        kind="vlan",
                        link=operation.other,
                        vlan_id=operation.number,
                    )
                case Verb.SET_BOND_MODE:
                    mode = _BOND_MODES[operation.value]
                    await route.link(
                        "set", index=index, kind="bond", bond_mode=mode, bond_miimon=MIIMON_MS
                    )
                case Verb.SET_MTU:
                    await route.link("set", index=index, mtu=operation.number)
                case Verb.TAKE_DOWN:
                    await route.link("set", index=index, state="down")
                case Verb.ENSLAVE:
                    await route.link("set", index=index, master=operation.other)
                case Verb.BRING_UP:
                    await route.link("set", index=index, state="up")
                case Verb.ADD_ADDRESS:
                    address, _, prefix = operation.value.partition("/")
                    await route.addr("replace", index=index, address=address, prefixlen=int(prefix))
                case Verb.ADD_ROUTE:
                    # A metric of its own: the default routes of two interfaces live side by side.
                    # On-link: clouds hand out addresses whose network does not hold the gateway.
                    is_four = ":" not in operation.value
                    await route.route(
                        "replace",
                        dst=ANY[4 if is_four else 6],
                        gateway=operation.value,
                        oif=index,
                        priority=METRIC + index,
                        **({"flags": RTNH_F_ONLINK} if is_four else {}),
                    )
        except NetlinkError as error:
            raise UnavailableError(f"{operation}: {error.args[-1]}") from error

    async def remove_address(self, index: int, address: str) -> None:
        """See Links."""
        plain, _, prefix = address.partition("/")
        try:
            await self._route.addr("del", index=index, address=plain, prefixlen=int(prefix))
        except NetlinkError:
            return

    async def changes(self) -> AsyncIterator[None]:
        """See Links."""
        while True:
            async for _ in self._events.get():
                yield


_BOND_MODES = {
    "balance-rr": 0,
    "active-backup": 1,
    "balance-xor": 2,
    "broadcast": 3,
    "802.3ad": 4,
    "balance-tlb": 5,
    "balance-alb": 6,
}


def _bond_mode(info: Any) -> str:
    data = info.get("data") if info and info.get("kind") == "bond" else None
    number = data.get("bond_mode") if data else None
    return next((name for name, mode in _BOND_MODES.items() if mode == number), "")


def _link(
    message: Any, addresses: Mapping[int, set[str]], gateways: Mapping[int, set[str]]
) -> Link:
    info = message.get("linkinfo")
    flags = message["flags"]
    return Link(
        index=message["index"],
        name=message.get("ifname"),
        kind=(info.get("kind") or "") if info else "",
        mac=message.get("address") or "",
        mtu=message.get("mtu") or 0,
        is_loopback=bool(flags & IFF_LOOPBACK),
        is_up=bool(flags & IFF_UP),
        has_carrier=bool(flags & IFF_LOWER_UP),
        master=message.get("master") or 0,
        bond_mode=_bond_mode(info),
        addresses=frozenset(addresses.get(message["index"], ())),
        gateways=frozenset(gateways.get(message["index"], ())),
    )
