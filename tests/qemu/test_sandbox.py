"""The sandbox on the image's own kernel: its agents are in one, and no probe gets out of one.

What there is besides (the order of steps, refusals, each mechanism taken out) runs on any kernel:
``tests/unit/sandbox``, ``tests/contract/test_sandbox.py``, ``tests/pidns/test_sandbox.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lib import soak_hostile, state_partition
from lib.machine import Machine

from ainit.constants import CONFIG
from tests.qemu import story
from tests.support import probed, probes, wait

SHIPPED = ("filetype", "speech")
ALL = "probed all"
PLACE = "probing"  # in the directory of the configuration
RUN = f"""\
import json, sys
sys.path.insert(0, '{CONFIG}/{PLACE}')
from ainit.sandbox import features
from tests.support.probed import World
from tests.support.probes import PROBES
found = features.read()
have = [found.landlock, found.filters, sorted(found.namespaces), found.memory]
print('features', json.dumps(have))
with World() as world:
    sandbox = world.sandbox()
    for name in PROBES:
        print('probed', name, world.run(name, sandbox).split(chr(10))[0], flush=True)
print('{ALL}', flush=True)
"""
UNIT = f"""\
[service]
exec = {json.dumps(["/usr/bin/python3", "-I", "-c", RUN])}
type = "simple"
restart = "never"
autostart = false
essential = false
"""


@pytest.fixture(scope="module")
def probing(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the probes on its disk, at rest."""
    folder = tmp_path_factory.mktemp("units")
    (folder / "empty").touch()
    texts = {
        "tests/__init__.py": folder / "empty",
        "tests/support/__init__.py": folder / "empty",
        "tests/support/probed.py": Path(probed.__file__),
        "tests/support/probes.py": Path(probes.__file__),
        "tests/support/wait.py": Path(wait.__file__),
    }

    def edit(disk: Path) -> None:
        soak_hostile.install(folder, {"probing": UNIT})(disk)
        for each in (PLACE, f"{PLACE}/tests", f"{PLACE}/tests/support"):
            state_partition.debugfs(disk, f"mkdir /config/{each}")
        for name, source in texts.items():
            state_partition.debugfs(disk, f"write {source} /config/{PLACE}/{name}")

    with Machine(image, tmp_path_factory.mktemp("machine")) as machine:
        machine.alter(edit)
        story.boot(machine)
        yield machine
        machine.power_off()


def lines(machine: Machine, name: str) -> list[str]:
    """What a unit wrote."""
    found = machine.call("org.ainos.Control.Logs", {"unit": name, "lines": 1000})["lines"]
    return [str(line["text"]) for line in found]


def test_no_probe_gets_out_on_the_image_s_kernel(probing: Machine) -> None:
    probing.call("org.ainos.Control.Start", {"name": "probing"})
    story.until(probing, "probing", lambda unit: unit["state"] in soak_hostile.DOWN)
    said = lines(probing, "probing")
    kernel = json.loads(next(line for line in said if line.startswith("features "))[9:])
    assert kernel[0] >= 6
    assert kernel[1] is True
    assert {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} <= set(kernel[2])
    assert kernel[3] is True
    assert ALL in said
    probed_lines = [line for line in said if line.startswith("probed ") and line != ALL]
    outcome = dict(line.split()[1:3] for line in probed_lines)
    assert outcome.keys() == probes.PROBES.keys()
    assert set(outcome.values()) <= {probed.BLOCKED, probed.KILLED}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_agents_of_the_image_are_in_theirs(probing: Machine, name: str) -> None:
    """Ready, so nothing that they need is denied; and locked in, as the kernel says it."""
    unit = story.until(probing, name, lambda unit: unit["state"] == "ready")
    text = story.in_shell(probing, f"cat /proc/{unit['pid']}/status")
    status = {
        key: value.split() for key, value in (line.split(":", 1) for line in text.splitlines())
    }
    assert status["Seccomp"] == ["2"]
    assert status["NoNewPrivs"] == ["1"]
    assert {int(status[f"Cap{kind}"][0], 16) for kind in ("Prm", "Eff", "Bnd", "Amb")} == {0}
    assert status["NSpid"][-1] == "1"
    show = "readlink /proc/{}/ns/{}"
    for kind in ("mnt", "pid", "ipc", "uts", "cgroup", "net", "user"):
        own = story.in_shell(probing, show.format(unit["pid"], kind))
        assert own != story.in_shell(probing, show.format(1, kind))
        assert own.startswith(kind)
    seen = story.in_shell(probing, f"ls /proc/{unit['pid']}/root/var /proc/{unit['pid']}/root/run")
    assert "lib" not in seen.split()
    devices = story.in_shell(probing, f"ls /proc/{unit['pid']}/root/dev").split()
    assert "null" in devices
    assert not [each for each in devices if each.startswith(("tpm", "vd", "sd", "nvme", "mem"))]
