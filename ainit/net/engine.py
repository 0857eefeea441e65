"""The network service at work: reconciles, keeps leases, writes resolv.conf, sets the clock.

One asyncio loop; nothing in it blocks. ``status`` is a snapshot that another thread may read at any
time: it is replaced as a whole, never changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field

from ..errors import AinosError, UnavailableError
from ..linux import files
from ..policy.network import Interface, NetworkPlan
from . import resolver, sntp
from .kernel import Links
from .lease import ASKING, Lease
from .links import Link, Operation, decide, entry_for

ROUNDS_MAX = 8  # reconciliation converges in four: bond, members and VLAN, up, addresses
STEP_SECONDS = 0.1  # a clock closer than this is left alone
CLOCK_FIRST_SECONDS, CLOCK_MAX_SECONDS, CLOCK_AGAIN_SECONDS = 2.0, 64.0, 1024.0
CLOCK_DEADLINE_SECONDS = 30.0  # for one server, the look-up of its name included

Keep = Callable[[str, str, Callable[[Lease], None]], Coroutine[None, None, None]]


def step_clock(offset: float) -> None:
    """Set the machine's clock forward by ``offset`` seconds. Raises OSError."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + offset)


@dataclass(frozen=True)
class Clock:
    """Whether the clock was set, by whom, how far it was off (seconds), and what is wrong."""

    synchronised: bool = False
    server: str = ""
    offset: float = 0.0
    problem: str = ""


@dataclass
class Engine:
    """Brings ``plan`` about. ``keep`` runs DHCP on an interface; ``ask``, ``step`` are for SNTP."""

    plan: NetworkPlan
    hostname: str
    links: Links
    keep: Keep
    resolv_conf: str
    ask: Callable[[str], sntp.Answer] = sntp.ask
    step: Callable[[float], None] = step_clock
    status: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._seen: list[Link] = []
        self._failed: dict[Operation, str] = {}
        self._leases: dict[str, Lease] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._stale: list[tuple[int, str]] = []
        self._clock = Clock()
        self._written = b""
        self._wake = asyncio.Event()
        self._new_servers = asyncio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until cancelled; ``ready`` is called once everything that can be done is done.

        Raises what a defect raises: the service then ends, and PID 1 starts it again.
        """
        await self.reconcile()
        ready()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._follow())
            group.create_task(self._keep_time())

    async def _watch(self) -> None:
        async for _ in self.links.changes():
            self._wake.set()

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.reconcile()

    # Interfaces

    async def reconcile(self) -> None:
        """Make the interfaces what they should be, as far as they are there."""
        for _ in range(ROUNDS_MAX):
            await self._observe()
            while self._stale:
                await self.links.remove_address(*self._stale.pop())
            granted = {name: (lease.address, lease.gateway) for name, lease in self._leases.items()}
            wanted = decide(self.plan, self._seen, granted)
            pending = [operation for operation in wanted if operation not in self._failed]
            if not pending:
                break
            for operation in pending:
                try:
                    await self.links.apply(operation)
                except UnavailableError as error:
                    self._failed[operation] = str(error)
                    print(error, flush=True)
        self._start_keepers()
        self._publish()

    async def _observe(self) -> None:
        seen = await self.links.observe()
        if _identity(seen) != _identity(self._seen):
            self._failed.clear()  # with another set of interfaces, what failed may succeed
        self._seen = seen

    def _start_keepers(self) -> None:
        """DHCP runs where it is wanted and a cable is plugged in."""
        wanted = set()
        for link in self._seen:
            entry = entry_for(link, self.plan)
            if entry is not None and entry.dhcp4 and link.is_up and link.has_carrier:
                wanted.add(link.name)
        for name in set(self._keepers) - wanted:
            self._keepers.pop(name).cancel()
            self._leases.pop(name, None)
        for name in sorted(wanted - set(self._keepers)):

            def report(lease: Lease, name: str = name) -> None:
                self._granted(name, lease)

            self._leases[name] = ASKING
            self._keepers[name] = asyncio.create_task(self.keep(name, self.hostname, report))

    def _granted(self, name: str, lease: Lease) -> None:
        """DHCP has news: take what it no longer grants away, and come back for the rest."""
        before = self._leases.get(name)
        if before is not None and before.address and before.address != lease.address:
            self._stale += [
                (link.index, before.address) for link in self._seen if link.name == name
            ]
        self._leases[name] = lease
        print(f"{name}: DHCP {lease.state} {lease.address}".rstrip(), flush=True)
        self._wake.set()
        self._new_servers.set()

    # Time

    def _servers(self) -> tuple[str, ...]:
        leased = [server for lease in self._leases.values() for server in lease.ntp]
        return resolver.first([*self.plan.ntp, *leased], 8)

    async def _keep_time(self) -> None:
        pause = CLOCK_FIRST_SECONDS
        while True:
            self._new_servers.clear()
            if await self.set_time():
                pause = CLOCK_AGAIN_SECONDS
            else:
                pause = min(pause * 2, CLOCK_MAX_SECONDS)
            self._publish()
            try:
                await asyncio.wait_for(self._new_servers.wait(), pause)
                pause = CLOCK_FIRST_SECONDS
            except TimeoutError:
                continue

    async def set_time(self) -> bool:
        """Set the clock by the first server that answers; whether one did."""
        problem = "no time server is configured"
        for server in self._servers():
            try:
                asked = asyncio.to_thread(self.ask, server)
                answer = await asyncio.wait_for(asked, CLOCK_DEADLINE_SECONDS)
                if abs(answer.offset) > STEP_SECONDS:
                    self.step(answer.offset)
                    print(f"clock set by {server}: {answer.offset:+.3f} s", flush=True)
                self._clock = Clock(True, server, answer.offset)
            except (AinosError, OSError) as error:  # TimeoutError is an OSError
                problem = str(error) or f"{server}: no answer"
            else:
                return True
        self._clock = Clock(False, self._clock.server, self._clock.offset, problem)
        return False

    # What others see

    def _publish(self) -> None:
        leases = [self._leases[name] for name in sorted(self._leases)]
        dns = resolver.first([*self.plan.dns, *(s for lease in leases for s in lease.dns)], 3)
        search = resolver.first([*self.plan.search, *(lease.domain for lease in leases)], 6)
        content = resolver.resolv_conf(dns, search)
        if content != self._written:
            files.replace(self.resolv_conf, content)
            self._written = content
        present = {link.name for link in self._seen}
        self.status = {
            "interfaces": [
                *(self._describe(link) for link in self._seen),
                *(_absent(e) for e in self.plan.interfaces if e.name and e.name not in present),
            ],
            "dns": list(dns),
            "search": list(search),
            "clock": asdict(self._clock),
        }

    def _describe(self, link: Link) -> dict[str, object]:
        entry = entry_for(link, self.plan)
        lease = self._leases.get(link.name)
        problems = [why for operation, why in self._failed.items() if operation.name == link.name]
        return {
            "name": link.name,
            "state": _state(link, entry, lease, problems),
            "mac": link.mac,
            "mtu": link.mtu,
            "carrier": link.has_carrier,
            "addresses": sorted(link.addresses),
            "gateways": sorted(link.gateways),
            "lease": None if lease is None else asdict(lease),
            "problem": "; ".join(problems),
        }


def _identity(links: list[Link]) -> set[tuple[int, str, bool]]:
    return {(link.index, link.name, link.has_carrier) for link in links}


def _state(link: Link, entry: Interface | None, lease: Lease | None, problems: list[str]) -> str:
    if link.master and not problems:
        return "member"
    if entry is None and not link.is_loopback:
        return "unmanaged"
    if problems:
        return "failed"
    if not link.is_up:
        return "down"
    if not link.has_carrier:
        return "no carrier"
    if entry is not None and entry.dhcp4 and (lease is None or lease.address not in link.addresses):
        return "asking"
    return "ready"


def _absent(entry: Interface) -> dict[str, object]:
    return {
        "name": entry.name,
        "state": "absent",
        "mac": "",
        "mtu": entry.mtu,
        "carrier": False,
        "addresses": [],
        "gateways": [],
        "lease": None,
        "problem": "",
    }
