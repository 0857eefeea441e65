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
from lib.variant import architecture_of

CLIENT = Path(__file__).with_name("guest") / "cut_client.py"
FIRST_DISK = 2  # behind root and payload
MEMORY_MIB = 1024
DEADLINE_S = 900.0


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
    """Run the jobs, each on an overlay of ``base``; returns each one's log. ``files`` lie below
    ``/dev/cut`` in the machine. Raises HostError when the machine does not come to its end, or a
    job that is no mutant's fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kernel, payload = folder / "kernel", folder / "payload"
    kernel.write_bytes(Image((image / "uki.efi").read_bytes()).sections[".linux"])
    payload.write_text(_payload(jobs, files), encoding="ascii")
    os.truncate(payload, -(-payload.stat().st_size // 512) * 512)
    logs = {job.name: folder / f"{number}.log" for number, job in enumerate(jobs)}
    for number, log in enumerate(logs.values()):
        log.unlink(missing_ok=True)
        log.touch()
        overlay = folder / f"{number}.qcow2"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "raw"]
        call([*create, str(overlay)])
    architecture = architecture_of(image)
    chosen = accelerator.choose(architecture)
    command = _command(image, architecture, chosen, folder, len(jobs))
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise HostError(f"the machine of the operations did not end in {DEADLINE_S} s") from error
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    (folder / "console.log").write_text(said)
    _check(said, jobs, folder)
    return logs


def _check(said: str, jobs: Sequence[Job], folder: Path) -> None:
    told: list[dict[str, Any]] = [
        json.loads(line) for line in said.splitlines() if line.startswith("{")
    ]
    if not any(each.get("ended") == len(jobs) for each in told):
        raise HostError(f"the operations did not end: see {folder}/console.log")
    errors = {each["job"]: each["error"] for each in told if "error" in each}
    for job in jobs:
        if job.name in errors and not job.mutant:
            raise HostError(f"{job.name} failed:\n{errors[job.name]}")


def _command(
    image: Path, architecture: Architecture, chosen: Accelerator, folder: Path, count: int
) -> list[str]:
    text = 'exec(open("/dev/vdb").read().strip(chr(0)))'
    cmdline = "root=/dev/vda rootfstype=erofs ro gpt panic=-1 quiet init=/usr/bin/python3"
    cmdline += f" console={architecture.serial},115200 -- -I -c {text}"
    words = [
        *(architecture.qemu, "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-machine", architecture.board.replace(",smm=on", "")),
        *chosen.arguments(architecture),
        *("-smp", "1", "-m", str(MEMORY_MIB), "-display", "none", "-serial", "stdio"),
        *("-kernel", str(folder / "kernel"), "-append", cmdline),
    ]
    for number, path in enumerate((image / "root.erofs", folder / "payload")):
        words += ["-drive", f"if=none,id=r{number},format=raw,readonly=on,file={path}"]
        words += ["-device", f"virtio-blk-pci,drive=r{number}"]
    for number in range(count):
        words += [
            *("-blockdev", f"driver=file,node-name=f{number},filename={folder}/{number}.qcow2"),
            *("-blockdev", f"driver=qcow2,node-name=q{number},file=f{number}"),
            *("-blockdev", f"driver=file,node-name=l{number},filename={folder}/{number}.log"),
            *("-blockdev", f"driver=blklogwrites,node-name=d{number},file=q{number},log=l{number}"),
            *("-device", f"virtio-blk-pci,drive=d{number}"),
        ]
    return words


def _payload(jobs: Sequence[Job], files: Mapping[str, bytes]) -> str:
    content = {f"package/{path.relative_to(REPOSITORY)}": path.read_bytes() for path in _package()}
    library = BUILD / "native/x86_64/libainit.so"
    content["package/ainit/linux/libainit.so"] = library.read_bytes()
    content.update(files)
    record = {
        "files": {path: base64.b85encode(data).decode() for path, data in content.items()},
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
    packed = base64.b85encode(zlib.compress(json.dumps(record).encode())).decode()
    text = CLIENT.read_text()
    return text.replace('PAYLOAD = ""', f"PAYLOAD = {packed!r}")


def _package() -> list[Path]:
    return sorted(path for path in (REPOSITORY / "ainit").rglob("*.py"))
