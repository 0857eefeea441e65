"""The ``network`` service: works in one thread, answers ``org.ainos.Network`` in another."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable

from ..child.server import Service, VarlinkError
from ..constants import MACHINE_JSON, RUNTIME
from ..errors import AinosError
from ..policy.network import NetworkPlan
from ..wire import interface_text
from ..wire.codec import loads
from ..wire.protocol import INVALID_PARAMETER, Message
from . import lease
from .engine import Engine, step_clock
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


def set_forward(parameters: Message, step: Callable[[float], None] = step_clock) -> Message:
    """``SetForward(time)``: the clock is behind what was signed already. It is never set back."""
    wanted = parameters.get("time")
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        raise VarlinkError(INVALID_PARAMETER, {"parameter": "time"})
    offset = wanted - time.time()
    if offset > 0:
        step(offset)
    return {"set": offset > 0}


async def work() -> None:
    """Run the engine; the service says READY=1 once everything that can be done is done."""
    hostname, plan = read(MACHINE_JSON)
    async with Netlink() as links:
        engine = Engine(plan, hostname, links, lease.keep, RESOLV_CONF)

        def answer() -> None:
            try:
                methods = {"Status": lambda _: engine.status, "SetForward": set_forward}
                Service(interface_text("org.ainos.Network"), methods).serve()
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
