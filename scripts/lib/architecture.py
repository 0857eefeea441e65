"""The processors an image can be built for: every name that differs between them, in one table.

of("aarch64").kernel_image
"""

from __future__ import annotations

import platform
import uuid
from dataclasses import dataclass
from pathlib import Path

from lib.host import HostError


@dataclass(frozen=True, slots=True)
class Architecture:
    """One processor architecture. ``name`` is what ``uname -m`` prints on it."""

    name: str
    # What Debian, the kernel's ARCH= and the UEFI specification (section 3.5.1.1) call it.
    debian: str
    kernel: str
    efi: str
    # Debian's name for its libraries' directory and, followed by a hyphen, for its compilers.
    triplet: str
    # The kernel image that the EFI stub is part of, relative to the objects.
    kernel_image: str
    # The C library's loader of programs, relative to the root, and how its cache marks libraries of
    # this architecture (glibc, sysdeps/generic/ldconfig.h).
    loader: str
    loader_flags: int
    # Discoverable Partitions Specification (UAPI.2): root and its hash tree.
    root_type: uuid.UUID
    verity_type: uuid.UUID
    # The ending of manylinux tags (PEP 600).
    wheel: str
    serial: str
    # The emulated machine: QEMU's program, board and processor, the firmware that enforces Secure
    # Boot with its empty variable store, and how the TPM is attached.
    qemu: str
    board: str
    emulated_processor: str
    firmware: Path
    variables: Path
    tpm: str

    @property
    def libraries(self) -> str:
        """The directory of shared libraries, relative to the root."""
        return f"usr/lib/{self.triplet}"

    @property
    def runs_here(self) -> bool:
        """Whether this host runs its programs."""
        return self.name == platform.machine()

    @property
    def compiler(self) -> str:
        """What the names of the compiler's programs begin with; empty for this host's own."""
        return "" if self.runs_here else f"{self.triplet}-"

    @property
    def stub(self) -> str:
        """The UKI stub in systemd's package."""
        return f"usr/lib/systemd/boot/efi/linux{self.efi}.efi.stub"

    @property
    def boot_loader(self) -> str:
        """The boot loader in systemd's package."""
        return f"usr/lib/systemd/boot/efi/systemd-boot{self.efi}.efi"

    @property
    def store(self) -> str:
        """The name of a variable store with our keys, beside the image."""
        return "OVMF_VARS.fd" if self is X86_64 else "AAVMF_VARS.fd"

    @property
    def default_loader(self) -> str:
        """Where firmware looks for a loader on the ESP when no boot entry names one."""
        return f"EFI/BOOT/BOOT{self.efi.upper()}.EFI"


X86_64 = Architecture(
    name="x86_64",
    debian="amd64",
    kernel="x86_64",
    efi="x64",
    triplet="x86_64-linux-gnu",
    kernel_image="arch/x86/boot/bzImage",
    loader="usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    loader_flags=0x0303,
    root_type=uuid.UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
    verity_type=uuid.UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
    wheel="x86_64",
    serial="ttyS0",
    qemu="qemu-system-x86_64",
    board="q35,smm=on",
    # QEMU 7.2 now and then corrupts a register when it emulates CMPXCHG16B in several threads, and
    # the kernel's slab allocator then faults (4 of 12 boots, against none of 12 without it). The
    # kernel has another way to do the same. What QEMU is slow at is left out, too: an answer of the
    # file-type model took 40 s of a processor with FMA, 5 s with AVX and 2 s with SSE alone.
    emulated_processor="max,-cx16,-fma,-avx2,-avx",
    firmware=Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"),
    variables=Path("/usr/share/OVMF/OVMF_VARS_4M.fd"),
    tpm="tpm-crb",
)
AARCH64 = Architecture(
    name="aarch64",
    debian="arm64",
    kernel="arm64",
    efi="aa64",
    triplet="aarch64-linux-gnu",
    kernel_image="arch/arm64/boot/Image",
    loader="usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1",
    loader_flags=0x0A03,
    root_type=uuid.UUID("b921b045-1df0-41c3-af44-4c6f280d3fae"),
    verity_type=uuid.UUID("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
    wheel="aarch64",
    serial="ttyAMA0",
    qemu="qemu-system-aarch64",
    board="virt,gic-version=3",
    # QEMU emulates pointer authentication with a slow cipher unless it is told not to.
    emulated_processor="max,pauth-impdef=on",
    firmware=Path("/usr/share/AAVMF/AAVMF_CODE.fd"),
    # Debian's AAVMF_VARS.fd is not an empty store but none at all: zeros, which no tool reads.
    variables=Path("/usr/share/AAVMF/AAVMF_VARS.snakeoil.fd"),
    tpm="tpm-tis-device",
)
ARCHITECTURES = {each.name: each for each in (X86_64, AARCH64)}


def of(name: str) -> Architecture:
    """Return the architecture of that name. Raises HostError."""
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise HostError(f"there is no architecture {name!r}; there are: {known}")
    return ARCHITECTURES[name]
