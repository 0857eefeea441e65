"""KVM or emulation: decided by trying, because a /dev/kvm that opens may still not run a guest.

The trial starts the product's own firmware (64-bit, SMM, two processors) and waits for its boot
manager. It takes two seconds where KVM works; the answer is kept until the host restarts.

AINOS_ACCELERATOR=kvm|tcg overrides the trial.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from enum import Enum
from pathlib import Path

from lib.architecture import X86_64, Architecture
from lib.console import Console
from lib.host import CACHE, HostError, published
from lib.process import end, spawn

KVM_DEVICE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TRIAL_DEADLINE_S = 20
TRIAL_MARK = "BdsDxe:"


class Accelerator(Enum):
    """How the guest's instructions are run."""

    KVM = "kvm"
    TCG = "tcg"

    def arguments(self, architecture: Architecture) -> list[str]:
        """The part of QEMU's command line that selects it."""
        if self is Accelerator.KVM:
            return ["-accel", "kvm", "-cpu", "host"]
        return ["-accel", "tcg,thread=multi", "-cpu", architecture.emulated_processor]


# Secure Boot's variables are kept by SMM: the operating system cannot write to their flash. Boards
# for other processors have no such mode; there, this flash is the system's to write to.
SECURE_FLASH = ("-global", "driver=cfi.pflash01,property=secure,value=on")


def firmware_arguments(architecture: Architecture, variables: Path) -> list[str]:
    """QEMU's arguments for the firmware with the variable store ``variables``, which it writes."""
    return [
        *(SECURE_FLASH if architecture is X86_64 else ()),
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={architecture.firmware}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
    ]


def choose(
    architecture: Architecture = X86_64, cache: Path = CACHE / "accelerator.json"
) -> Accelerator:
    """The accelerator to use on this host. Raises HostError for an unknown override."""
    if not architecture.runs_here:
        return Accelerator.TCG
    if override := os.environ.get("AINOS_ACCELERATOR"):
        try:
            return Accelerator(override)
        except ValueError as error:
            raise HostError(f"AINOS_ACCELERATOR is {override!r}, neither kvm nor tcg") from error
    boot_id = BOOT_ID.read_text().strip()
    if (known := _remembered(cache, boot_id)) is not None:
        return known
    accelerator = Accelerator.KVM if is_kvm_usable() else Accelerator.TCG
    with published(cache) as temporary:
        temporary.write_text(json.dumps({"boot_id": boot_id, "accelerator": accelerator.value}))
    return accelerator


def _remembered(cache: Path, boot_id: str) -> Accelerator | None:
    try:
        known = json.loads(cache.read_text())
        return Accelerator(known["accelerator"]) if known["boot_id"] == boot_id else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_kvm_usable() -> bool:
    """Whether a guest gets through the firmware under KVM within the deadline."""
    here = X86_64
    if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryDirectory(prefix="ainos-kvm-") as folder:
        variables = Path(folder) / "variables.fd"
        shutil.copyfile(here.variables, variables)
        process = spawn(
            [
                *(here.qemu, "-machine", here.board, *Accelerator.KVM.arguments(here)),
                *("-smp", "2", "-m", "512", *firmware_arguments(here, variables)),
                *("-nodefaults", "-display", "none", "-serial", "stdio"),
            ],
            Path(os.devnull),
            piped=True,
        )
        assert process.stdout is not None  # it is a pipe
        console = Console(process.stdout)
        try:
            return console.wait_for(TRIAL_MARK, TRIAL_DEADLINE_S) is not None
        finally:
            end(process, patience_s=0)
            console.close()
