"""A Python program that a machine runs as a unit of its own, and what it says: a line of JSON at a
time, of which the last counts.

    said = Errand("corruption", folder, Hardware(), {"fs.img": path}).run(image, is_over)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lib import state_partition
from lib.host import HostError
from lib.machine import Machine
from lib.process import wait_until
from lib.qemu import Hardware
from tests.support.units import python_unit

Data = dict[str, Any]

PROGRAMS = Path(__file__).with_name("guest")
DEADLINE_S = 7200.0
PLACE = "/errand"  # on the state partition


class Errand:
    """The program ``guest/NAME.py``, and the files that it finds beside it."""

    def __init__(
        self,
        name: str,
        folder: Path,
        hardware: Hardware,
        files: Mapping[str, Path] | None = None,
    ) -> None:
        self._name = name
        self._folder = folder
        self._hardware = hardware
        self._files = {f"{name}.py": PROGRAMS / f"{name}.py", **(files or {})}

    def run(self, image: Path, is_over: Callable[[Data], bool]) -> Data:
        """Boot, wait until ``is_over`` holds of what was said last, and power off. HostError."""
        said: Data = {}

        def has_ended() -> bool:
            said.update(self._said(machine))
            return is_over(said) or "why" in said

        with Machine(image, self._folder / "machine", self._hardware) as machine:
            machine.alter(self._install)
            machine.start()
            if not machine.wait_control(DEADLINE_S) or not wait_until(has_ended, DEADLINE_S):
                raise HostError(f"{self._name} took more than {DEADLINE_S:.0f} s: {said}")
            machine.power_off()
        if "why" in said:
            raise HostError(f"{self._name} failed in the machine: {said['why']}")
        return said

    def _install(self, disk: Path) -> None:
        program = f"/var/lib/ainos{PLACE}/{self._name}.py"
        code = f'exec(compile(open("{program}").read(), "{program}", "exec"))'
        unit = self._folder / "unit.toml"
        unit.write_text(python_unit(code, "pids_max = 8"))
        state_partition.debugfs(disk, f"mkdir {PLACE}")
        for name, path in self._files.items():
            state_partition.debugfs(disk, f"write {path} {PLACE}/{name}")
        state_partition.debugfs(disk, "mkdir /config/units")
        state_partition.debugfs(disk, f"write {unit} /config/units/{self._name}.toml")

    def _said(self, machine: Machine) -> Data:
        asked = {"unit": self._name, "lines": 20}
        lines = machine.call("org.ainos.Control.Logs", asked)["lines"]
        found = [json.loads(line["text"]) for line in lines if line["text"].startswith("{")]
        unit = machine.call("org.ainos.Control.Describe", {"name": self._name})["unit"]
        if unit["state"] == "failed":
            return {"why": " | ".join(line["text"] for line in lines)}
        return dict(found[-1]) if found else {}
