"""Run operations of the update client in a machine, each on a disk whose writes are logged.

The machine is the image's kernel and root, without firmware and without ainit: its first process is
``guest/cut_client.py``, which has a copy of the package that is tested. A dozen disks take seconds,
under emulation, too.

    logs = run(drive.IMAGE, base, [Job("install", script)], folder)
    cut_log.read(logs["install"])
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ainit.ota.pe import Image
from lib import accelerator
from lib.accelerator import Accelerator
from lib.architecture import Architecture
from lib.host import BUILD, REPOSITORY, HostError
from lib.host import run as call
from lib.process import end, spawn
from lib.variant import architecture_of

CLIENT = Path(__file__).with_name("guest") / "cut_client.py"
FIRST_DISK = 2  # behind root and payload
MEMORY_MIB = 1024
TOGETHER = 5  # jobs in one machine
TRIES = 3
DEADLINE_S = 150.0


@dataclass(frozen=True, slots=True)
class Job:
    """One operation: ``script`` is Python, and has ``job``, whose ``facts`` those are. ``mutant``
    replaces text of the package: paths, what is there once, and what takes its place.
    """

    name: str
    script: str
    facts: Mapping[str, object] = field(default_factory=dict)
    mutant: tuple[tuple[str, str, str], ...] = ()


def run(
    image: Path, base: Path, jobs: Sequence[Job], folder: Path, files: Mapping[str, bytes]
) -> dict[str, Path]:
    """Run the jobs, each on an overlay of ``base``, some in one machine; returns each one's log.
    ``files`` lie below ``/dev/cut`` there. Raises HostError when a machine does not come to its
    end, or a job that is no mutant's fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kernel = folder / "kernel"
    kernel.write_bytes(Image((image / "uki.efi").read_bytes()).sections[".linux"])
    logs = {}
    for start in range(0, len(jobs), TOGETHER):
        some = jobs[start : start + TOGETHER]
        for number, job in enumerate(some):
            logs[job.name] = log_of(folder, start + number)
        for tried in range(TRIES):
            if _is_through(image, base, some, folder, start, files):
                break
            if tried == TRIES - 1:
                raise HostError(f"the operations did not end: see {folder}/console.log")
    return logs


def log_of(folder: Path, number: int) -> Path:
    """The log of a job, by its number."""
    return folder / f"{number}.log"


def overlay_of(folder: Path, number: int) -> Path:
    """What its disk holds afterwards."""
    return folder / f"{number}.qcow2"


def _is_through(
    image: Path,
    base: Path,
    jobs: Sequence[Job],
    folder: Path,
    start: int,
    files: Mapping[str, bytes],
) -> bool:
    """Run some jobs in one machine. False when it hangs, as emulated ones do now and then."""
    payload = folder / "payload"
    payload.write_text(_payload(jobs, files), encoding="ascii")
    os.truncate(payload, -(-payload.stat().st_size // 512) * 512)
    numbers = range(start, start + len(jobs))
    for number in numbers:
        log_of(folder, number).write_bytes(b"")
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw"]
        call([*create, str(overlay_of(folder, number))])
    architecture = architecture_of(image)
    chosen = accelerator.choose(architecture)
    machine = spawn(_command(image, architecture, chosen, folder, numbers), folder / "qemu.log")
    try:
        machine.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        return False
    finally:
        end(machine, patience_s=0)
    said = (folder / "console.log").read_text("utf-8", "replace")
    return _has_ended(said, jobs)


def _has_ended(said: str, jobs: Sequence[Job]) -> bool:
    told: list[dict[str, Any]] = [
        json.loads(line) for line in said.splitlines() if line.startswith("{")
    ]
    errors = {each["job"]: each["error"] for each in told if "error" in each}
    for job in jobs:
        if job.name in errors and not job.mutant:
            raise HostError(f"{job.name} failed:\n{errors[job.name]}")
    return any(each.get("ended") == len(jobs) for each in told)


def _command(
    image: Path,
    architecture: Architecture,
    chosen: Accelerator,
    folder: Path,
    numbers: Sequence[int],
) -> list[str]:
    text = 'exec(open("/dev/vdb").read().strip(chr(0)))'
    cmdline = "root=/dev/vda rootfstype=erofs ro gpt panic=-1 quiet init=/usr/bin/python3"
    cmdline += f" console={architecture.serial},115200 -- -I -c {text}"
    words = [
        *(architecture.qemu, "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-machine", architecture.board.replace(",smm=on", "")),
        *chosen.arguments(architecture),
        *(
            "-smp",
            "1",
            "-m",
            str(MEMORY_MIB),
            "-display",
            "none",
            "-serial",
            f"file:{folder}/console.log",
        ),
        *("-kernel", str(folder / "kernel"), "-append", cmdline),
    ]
    for number, path in enumerate((image / "root.erofs", folder / "payload")):
        words += ["-drive", f"if=none,id=r{number},format=raw,readonly=on,file={path}"]
        words += ["-device", f"virtio-blk-pci,drive=r{number}"]
    for number in numbers:
        words += [
            *("-blockdev", f"driver=file,node-name=f{number},filename={folder}/{number}.qcow2"),
            *("-blockdev", f"driver=qcow2,node-name=q{number},file=f{number}"),
            *("-blockdev", f"driver=file,node-name=l{number},filename={folder}/{number}.log"),
            *("-blockdev", f"driver=blklogwrites,node-name=d{number},file=q{number},log=l{number}"),
            *("-device", f"virtio-blk-pci,drive=d{number},discard=off,write-zeroes=off"),
        ]
    return words


def _payload(jobs: Sequence[Job], files: Mapping[str, bytes]) -> str:
    content = {f"package/{path.relative_to(REPOSITORY)}": path.read_bytes() for path in _package()}
    library = BUILD / "native/x86_64/libainit.so"
    content["package/ainit/linux/libainit.so"] = library.read_bytes()
    content.update(files)
    record = {
        "files": {path: base64.b64encode(data).decode() for path, data in content.items()},
        "jobs": [
            {
                "name": job.name,
                "script": job.script,
                "mutant": job.mutant,
                "disk": f"/dev/vd{chr(ord('a') + FIRST_DISK + number)}",
                **job.facts,
            }
            for number, job in enumerate(jobs)
        ],
    }
    packed = base64.b64encode(zlib.compress(json.dumps(record).encode())).decode()
    text = CLIENT.read_text()
    return text.replace('PAYLOAD = ""', f"PAYLOAD = {packed!r}")


def _package() -> list[Path]:
    return sorted(path for path in (REPOSITORY / "ainit").rglob("*.py"))
