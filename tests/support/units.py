"""Units for tests, with round numbers."""

from __future__ import annotations

import json

from ainit.policy import plan
from ainit.policy.plan import Unit


def make_unit(name: str = "u", /, **fields: object) -> Unit:
    """A unit with the given fields; an agent when it wants a GPU."""
    unit = Unit(name, plan.AGENT if fields.get("gpu_profile") else plan.SERVICE)
    unit.backoff_first, unit.backoff_factor, unit.backoff_max = 1.0, 2.0, 8.0
    unit.backoff_limit, unit.start_timeout, unit.stop_timeout = 3, 10.0, 5.0
    for field, value in fields.items():
        setattr(unit, field, value)
    return unit


def python_unit(code: str, resources: str, restart: str = plan.NEVER) -> str:
    """The file of a service that runs Python code within limits."""
    command = json.dumps(["/usr/bin/python3", "-I", "-S", "-c", code])
    return (
        f'[service]\nexec = {command}\ntype = "simple"\nessential = false\n'
        f'restart = "{restart}"\n'
        f"stop_timeout_s = 5\n\n[resources]\n{resources}\n"
    )
