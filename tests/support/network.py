"""A kernel's interfaces that are not there: what the network service's tests act upon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from ainit.errors import UnavailableError
from ainit.net.links import Link, Operation, Verb


class FakeLinks:
    """Interfaces in memory, with the kernel's rules that matter for the order of operations."""

    def __init__(self, *links: Link) -> None:
        lo = Link(1, "lo", mtu=65536, is_loopback=True)
        self.links = {link.name: link for link in (lo, *links)}
        self.done: list[str] = []
        self.refuse: set[Verb] = set()
        self._changed: asyncio.Queue[None] = asyncio.Queue()

    def set(self, link: Link) -> None:
        """The interface is like this from now on, and everybody is told."""
        self.links[link.name] = link
        self._changed.put_nowait(None)

    def remove(self, name: str) -> None:
        """The interface is gone."""
        del self.links[name]
        self._changed.put_nowait(None)

    async def observe(self) -> list[Link]:
        return sorted(self.links.values(), key=lambda link: link.index)

    async def apply(self, operation: Operation) -> None:
        if operation.verb in self.refuse:
            raise UnavailableError(f"{operation}: Operation not supported")
        self.done.append(str(operation))
        match operation.verb:
            case Verb.CREATE_BOND:
                self._create(operation, "bond")
            case Verb.CREATE_VLAN:
                self._create(operation, "vlan")
            case _:
                self.set(_changed(self.links[operation.name], operation))

    def _create(self, operation: Operation, kind: str) -> None:
        index = max(link.index for link in self.links.values()) + 1
        self.set(Link(index, operation.name, kind, bond_mode=operation.value))

    async def remove_address(self, index: int, address: str) -> None:
        for link in list(self.links.values()):
            if link.index == index:
                self.done.append(f"{link.name}: remove address {address}")
                self.set(replace(link, addresses=link.addresses - {address}))

    async def changes(self) -> AsyncIterator[None]:
        while True:
            await self._changed.get()
            yield


def _changed(link: Link, operation: Operation) -> Link:
    """The interface after an operation. Raises UnavailableError where the kernel would."""
    value = operation.value
    match operation.verb:
        case Verb.SET_BOND_MODE:
            return replace(link, bond_mode=value)
        case Verb.SET_MTU:
            return replace(link, mtu=operation.number)
        case Verb.TAKE_DOWN:
            return replace(link, is_up=False, has_carrier=False)
        case Verb.ENSLAVE if link.is_up:
            raise UnavailableError(f"{operation}: Operation not permitted")
        case Verb.ENSLAVE:
            return replace(link, master=operation.other, is_up=True, has_carrier=True)
        case Verb.BRING_UP:
            return replace(link, is_up=True, has_carrier=True)
        case Verb.ADD_ADDRESS:
            return replace(link, addresses=link.addresses | {value})
        case Verb.ADD_ROUTE if not link.addresses:
            raise UnavailableError(f"{operation}: Network is unreachable")
        case _:
            return replace(link, gateways=link.gateways | {value})
