"""One boot of the machine with one init, and what the guest said on its port.

The processor is emulated, one instruction taking the same time always (``-icount``), and a
processor that waits skips the time (``sleep=off``): a boot's time is a count of instructions and of
waits, whatever else the host does. There is no firmware in it: the kernel is started as it is, so
Secure Boot and the loader, equal for all, are left out. The root lies in memory (a virtual NVDIMM),
for the time that a disk of the host's takes is no guest time.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lib.architecture import X86_64
from lib.boot.ground import Ground
from lib.host import HostError
from lib.process import end, spawn, wait_until

# Two nanoseconds an instruction.
SHIFT = 1
MEMORY_MIB = 2048
DEADLINE_S = 1500.0


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the guest's: a word and two numbers, mostly seconds since the kernel's start."""

    word: str
    first: float
    second: float


def command(ground: Ground, words: str, port: Path, console: Path) -> list[str]:
    """QEMU's command line. What the guest writes to its disk is in memory, and lost."""
    path, size = ground.disk, ground.disk.stat().st_size
    return [
        *(X86_64.qemu, "-name", "ainos-boot", "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-machine", "q35,nvdimm=on", "-cpu", X86_64.emulated_processor),
        *("-accel", "tcg,thread=single", "-icount", f"shift={SHIFT},align=off,sleep=off"),
        *("-smp", "1", "-m", f"{MEMORY_MIB}M,slots=1,maxmem={MEMORY_MIB + (size >> 20)}M"),
        *("-object", f"memory-backend-file,id=memory0,share=off,size={size},mem-path={path}"),
        *("-device", "nvdimm,memdev=memory0,id=disk0"),
        *("-rtc", "base=2026-06-01,clock=vm"),
        *("-display", "none", "-serial", f"file:{console}"),
        *("-kernel", str(ground.kernel), "-append", f"{ground.cmdline} {words}"),
        *("-device", "virtio-serial-pci", "-chardev", f"file,id=port,path={port}"),
        *("-device", "virtserialport,chardev=port,name=org.ainos.bench"),
        *("-object", "rng-builtin,id=entropy", "-device", "virtio-rng-pci,rng=entropy"),
    ]


def boot(ground: Ground, words: str, last: str, log: Path) -> list[Said]:
    """Boot with these ``words`` more on the command line until the guest says ``last``.

    Raises HostError when it does not.
    """
    folder = Path(tempfile.mkdtemp(prefix="ainos-boot-"))
    port = folder / "port"
    try:
        log.unlink(missing_ok=True)
        child = spawn(command(ground, words, port, log), folder / "qemu.log")
        try:
            wait_until(
                lambda: child.poll() is not None or any(s.word == last for s in said(port)),
                DEADLINE_S,
            )
        finally:
            end(child, patience_s=0)
        found = said(port)
        if not any(each.word == last for each in found):
            text = (folder / "qemu.log").read_text()
            raise HostError(f"the guest never said {last!r}, see {log}: {text}")
        return found
    finally:
        shutil.rmtree(folder)


def said(port: Path) -> list[Said]:
    """The whole lines in the file behind the port."""
    if not port.exists():
        return []
    whole = port.read_text().rpartition("\n")[0]
    lines = [line.split() for line in whole.splitlines()]
    return [Said(word, int(one) / 1e9, int(other) / 1e9) for word, one, other in lines]
