"""The ``network`` service: works in one thread, answers ``org.ainos.Network`` in another."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

from ..child.server import Service
from ..constants import MACHINE_JSON, RUNTIME
from ..errors import AinosError
from ..policy.network import NetworkPlan
from ..wire import interface_text
from ..wire.codec import loads
from . import lease
from .engine import Engine
from .kernel import Netlink

RESOLV_CONF = RUNTIME + "/resolv.conf"


def read(path: str) -> tuple[str, NetworkPlan]:
    """Host name and network plan from the machine configuration that PID 1 checked.

    Raises AinosError or OSError.
    """
    with open(path, "rb") as file:
        machine = loads(file.read())
    if not isinstance(machine, dict) or not isinstance(machine.get("network"), dict):
        raise AinosError(f"{path} holds no network plan")
    return str(machine.get("hostname", "")), NetworkPlan.from_record(machine["network"])


async def work() -> None:
    """Run the engine; the service says READY=1 once everything that can be done is done."""
    hostname, plan = read(MACHINE_JSON)
    async with Netlink() as links:
        engine = Engine(plan, hostname, links, lease.keep, RESOLV_CONF)

        def answer() -> None:
            try:
                Service(
                    interface_text("org.ainos.Network"), {"Status": lambda _: engine.status}
                ).serve()
            finally:
                os._exit(1)  # PID 1 starts the whole service again

        thread = threading.Thread(target=answer, name="varlink", daemon=True)
        await engine.run(ready=thread.start)


def main() -> int:
    """Run the service."""
    try:
        asyncio.run(work())
    except (AinosError, OSError, ValueError) as error:
        print(f"network: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
