"""What happened to one machine over two boots, told as records: the tests read, and do nothing.

Between the boots the disk gets a configuration, an altered model, and an extension.

story = tell(image, configuration, directory)
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib import drive, erofs, models, report, state_partition, tamper
from lib.host import KEYS, HostError
from lib.layout import fixed_uuid
from lib.machine import Machine
from lib.process import wait_until
from lib.qemu import DiskBus, Hardware

from ainit.errors import AinosError

Data = dict[str, Any]

DISK_GIB = 8  # more than the image has
STEER_DEADLINE_S = 180.0
QUESTIONS = {
    "hostname": "hostname",
    "resolv.conf": "cat /etc/resolv.conf",
    "bond": "cat /proc/net/bonding/uplink",
    "vlan": "cat /proc/net/vlan/storage",
    "ping": "ping -c 1 -W 5 10.0.2.2",
    "ping6": "ping -6 -c 1 -W 5 fec0::2",
    "extension": "cat /run/ainit/extensions/cuda/said.txt",
    "mounts": "cat /proc/mounts",
    "write": "touch /run/ainit/extensions/cuda/new 2>&1",
}
EXTENSION = "cuda"
SAID = "from the extension"


@dataclass(frozen=True)
class Disk:
    """What a disk holds while the machine is off; ``made``: when admitted files came to be."""

    uki: str
    state: str
    incoming: list[str]
    objects: list[str]
    names: dict[str, str]
    made: dict[str, list[str]]


@dataclass(frozen=True)
class Steered:
    """The agent ``speech``, and who holds which GPU instance, after each thing done to it."""

    before: Data
    stopped: Data
    held_while_stopped: dict[str, str]
    asked_while_stopped: Data
    started: Data
    held: dict[str, str]
    restarted: Data
    followed: list[Data]
    logged: list[Data]
    killed: Data
    held_after_kill: dict[str, str]


@dataclass(frozen=True)
class Story:
    """Everything that was seen, in the order in which it happened."""

    first: Data
    disk_between: Disk
    extension: Path
    report: Data
    interfaces: dict[str, Data]
    network: Data
    said: dict[str, str]
    filetype: Data
    steered: Steered
    last: Data
    end: str | None
    disk_after: Disk


def read_disk(path: Path) -> Disk:
    """See Disk."""
    names = state_partition.entries(path, state_partition.NAMES)
    texts = {
        name: state_partition.debugfs(path, f"cat {state_partition.NAMES}/{name}") for name in names
    }
    objects = {
        f"{state_partition.OBJECTS}/{note['object']}/{json.loads(note['record'])['file']}"
        for note in map(json.loads, texts.values())
    }
    made = [*(f"{state_partition.NAMES}/{name}" for name in names), *objects]
    return Disk(
        uki=f"EFI/Linux/{tamper.uki_name(path)}",
        state=state_partition.debugfs(path, "stats -h"),
        incoming=state_partition.entries(path, state_partition.INCOMING),
        objects=sorted(state_partition.entries(path, state_partition.OBJECTS)),
        names=texts,
        made={
            file: re.findall(
                r"\b(?:mtime|crtime): .*", state_partition.debugfs(path, f"stat {file}")
            )
            for file in made
        },
    )


def in_shell(machine: Machine, script: str) -> str:
    """What a script prints in the root shell of a development image."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(STEER_DEADLINE_S)
        channel.connect(str(machine.socket("shell")))
        # The terminal echoes the line as it was typed, with its sum not worked out.
        channel.sendall(f"echo begin-$((6*7)); {script}; echo end-$((6*7))\n".encode())
        said = b""
        while b"end-42" not in said:
            data = channel.recv(1 << 16)
            if not data:
                raise HostError(f"the shell ended: {said!r}")
            said += data
    return said.decode().replace("\r", "").partition("begin-42\n")[2].partition("end-42")[0]


def until(machine: Machine, name: str, holds: Callable[[Data], bool]) -> Data:
    """A unit, once ``holds`` is true of it."""
    seen: list[Data] = []

    def look() -> bool:
        seen[:] = [machine.call("org.ainos.Control.Describe", {"name": name})["unit"]]
        return holds(seen[0])

    if not wait_until(look, STEER_DEADLINE_S):
        raise HostError(f"{name} is still {seen[0]}")
    return seen[0]


def until_ready_again(machine: Machine, before: Data) -> Data:
    """The unit ``before``, once it is ready as another process."""
    return until(
        machine,
        before["name"],
        lambda unit: unit["state"] == "ready" and unit["pid"] != before["pid"],
    )


def holders(machine: Machine) -> dict[str, str]:
    """Agent → the instance that it holds."""
    gpu = machine.call("org.ainos.Gpu.Status", {})
    instances = [each for device in gpu["devices"] for each in device["instances"]]
    return {each["agent"]: each["uuid"] for each in instances}


def steer(machine: Machine) -> Steered:
    """Stop, start, restart and kill an agent."""
    control, agent = "org.ainos.Control", {"name": "speech"}
    before = until(machine, "speech", lambda unit: unit["state"] == "ready")
    machine.call(f"{control}.Stop", agent)
    stopped = until(machine, "speech", lambda unit: unit["state"] == "inactive")
    wait_until(lambda: "speech" not in holders(machine), STEER_DEADLINE_S)
    held_while_stopped = holders(machine)
    asked = report.ask(machine.call, "org.ainos.agent.Speech.Detect", {"audio": ""})
    machine.call(f"{control}.Start", agent)
    started = until_ready_again(machine, before)
    held = holders(machine)
    machine.call(f"{control}.Restart", agent)
    followed = follow(machine, "speech", "ready")
    restarted = until_ready_again(machine, started)
    logged = machine.call(f"{control}.Logs", {"unit": "speech"})["lines"]
    in_shell(machine, f"kill -9 {restarted['pid']}")
    killed = until_ready_again(machine, restarted)
    return Steered(
        before=before,
        stopped=stopped,
        held_while_stopped=held_while_stopped,
        asked_while_stopped=asked,
        started=started,
        held=held,
        restarted=restarted,
        followed=followed,
        logged=logged,
        killed=killed,
        held_after_kill=holders(machine),
    )


def follow(machine: Machine, unit: str, last: str) -> list[Data]:
    """The lines that a unit writes from now on, up to one that says ``last``."""
    lines: list[Data] = []
    parameters = {"unit": unit, "lines": 0, "follow": True}
    with machine.client(STEER_DEADLINE_S) as client:
        answers: Iterator[Data] = client.more("org.ainos.Control.Logs", parameters)
        for answer in answers:
            lines += answer["lines"]
            if lines and lines[-1]["text"] == last:
                break
    machine.disconnect()  # the stream has no end of its own
    return lines


def deliver(disk: Path, extension: Path) -> None:
    """Put a published extension where the store of the machine looks for it."""
    folder = f"{state_partition.INCOMING}/{EXTENSION}"
    state_partition.debugfs(disk, f"mkdir {folder}")
    for file in sorted(extension.iterdir()):
        state_partition.debugfs(disk, f"write {file} {folder}/{file.name}")


def make_extension(directory: Path) -> Path:
    """A small extension, signed as the real ones are; returns what is delivered."""
    content = directory / "content"
    content.mkdir(parents=True)
    (content / "said.txt").write_text(SAID)
    image = directory / f"{EXTENSION}.erofs"
    erofs.build(content, image, fixed_uuid("a small extension"))
    record = models.Record(EXTENSION, "extension", image.name)
    return models.publish(image, record, KEYS / "publisher.pem", directory / "models")


def tell(image: Path, configuration: Path, directory: Path) -> Story:
    """Boot; power off; change the disk; boot; look; steer; reboot; look at the disk."""
    disks: list[Disk] = []
    extension = make_extension(directory / "extension")

    def between(path: Path) -> None:
        disks.append(read_disk(path))
        state_partition.debugfs(path, f"write {configuration} /config/machine.toml")
        tamper.change_model(path)
        deliver(path, extension)

    hardware = Hardware(disk_bus=DiskBus.NVME, disk_gib=DISK_GIB)
    with Machine(image, directory, hardware) as machine:
        boot(machine)
        first = drive.wait_at_rest(machine)
        machine.power_off()
        machine.alter(between)
        boot(machine)
        drive.wait_at_rest(machine)
        seen = drive.examine(machine, machine.directory / "evidence")
        network = machine.call("org.ainos.Network.Status", {})
        said = {topic: in_shell(machine, command) for topic, command in QUESTIONS.items()}
        speech = until(machine, "speech", lambda unit: unit["state"] == "ready")
        said["environment"] = in_shell(machine, f"tr '\\0' '\\n' </proc/{speech['pid']}/environ")
        question = {"content": ""}
        filetype = report.ask(machine.call, "org.ainos.agent.FileType.Identify", question)
        steered = steer(machine)
        last = machine.call("org.ainos.Control.Status", {})
        with suppress(AinosError):  # the bridge may be gone before the answer is through
            machine.call("org.ainos.Control.Reboot", {})
        end = machine.wait_end(drive.DOWN_DEADLINE_S)
        machine.alter(lambda path: disks.append(read_disk(path)))
    return Story(
        first=first,
        disk_between=disks[0],
        extension=extension,
        report=seen,
        interfaces={each["name"]: each for each in network["interfaces"]},
        network=network,
        said=said,
        filetype=filetype,
        steered=steered,
        last=last,
        end=end,
        disk_after=disks[1],
    )


def boot(machine: Machine) -> None:
    """Switch the machine on and wait for it. Raises HostError."""
    machine.start()
    if not drive.wait_up(machine):
        raise HostError("the machine did not come up")
