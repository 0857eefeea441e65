"""The faults that ``make run TAMPER=<what>`` demonstrates, each as an attacker would make them.

A fault edits the raw image of one machine's disk (a copy, made by `lib.disks`) or changes what the
machine is made of. What must come of it is judged by `lib.scenario`, under the same name.

    Machine(images, directory, fault=TAMPERS["model"])
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ainit.ota.pe import Image
from lib import initrd, models, policy, state_partition
from lib.disk import LOADER_CONFIGURATION
from lib.host import KEYS, HostError, run
from lib.qemu import Hardware
from lib.state_partition import INCOMING, partition_offset

MTOOLS_DEADLINE_S = 60.0
EROFS_SUPERBLOCK = 1024
FOREIGN_WORD = "ainos.foreign=1"
FOREIGN_MESSAGE = "AINOS foreign initrd ran"
MODEL = "magika"
OTHER_MODEL = "silero-vad"
POLICY = "placement"


def _same(hardware: Hardware) -> Hardware:
    return hardware


@dataclass(frozen=True, slots=True)
class Tamper:
    """One fault: what is done and what must come of it, in words; ``edit`` changes the disk.

    ``must_not_print`` is what the console would show if the fault took effect, ``must_print`` a
    pattern for what it shows when the fault is refused.
    """

    description: str
    expectation: str
    edit: Callable[[Path], None] | None = None
    hardware: Callable[[Hardware], Hardware] = _same
    must_not_print: str = ""
    must_print: str = ""


# The root and the boot partition.


def change_root(disk: Path) -> None:
    """Change one byte of the root file system's superblock, which every boot reads."""
    state_partition.flip(disk, partition_offset("root_a") + EROFS_SUPERBLOCK + 64)


def change_uki(disk: Path) -> None:
    """Change one byte of the kernel inside the UKI."""
    with tempfile.TemporaryDirectory() as folder:
        path, copy = f"::/EFI/Linux/{uki_name(disk)}", Path(folder) / "uki.efi"
        _mtools("mcopy", disk, path, str(copy))
        data = copy.read_bytes()
        kernel = Image(data).sections[".linux"]
        state_partition.flip(copy, data.index(kernel) + len(kernel) // 2)
        _mtools("mcopy", disk, "-o", str(copy), path)


def add_loader_entry(disk: Path, *, options: str = "", foreign_initrd: bool = False) -> None:
    """Make an unsigned boot menu entry that starts our signed UKI the default."""
    lines = ["title foreign", f"linux /EFI/Linux/{uki_name(disk)}"]
    lines += [f"options {options}"] if options else []
    lines += ["initrd /foreign.img"] if foreign_initrd else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "foreign.conf").write_text("\n".join(lines) + "\n")
        (folder / "foreign.img").write_bytes(initrd.build(FOREIGN_MESSAGE))
        (folder / "loader.conf").write_text(f"{LOADER_CONFIGURATION}default foreign.conf\n")
        _mtools("mmd", disk, "-D", "s", "::/loader/entries")
        _mtools("mcopy", disk, "-o", str(folder / "foreign.conf"), "::/loader/entries/")
        _mtools("mcopy", disk, "-o", str(folder / "loader.conf"), "::/loader/")
        if foreign_initrd:
            _mtools("mcopy", disk, "-o", str(folder / "foreign.img"), "::/")


def uki_name(disk: Path) -> str:
    """The one UKI's name; boot counting changes it at every boot."""
    found = _mtools("mdir", disk, "-b", "::/EFI/Linux").split()
    listed = [path for path in found if path.endswith(".efi")]  # its approval lies beside it
    if len(listed) != 1:
        raise HostError(f"the ESP holds {len(listed)} UKIs, not one")
    return listed[0].rsplit("/", 1)[1]


def _mtools(tool: str, disk: Path, *arguments: str) -> str:
    esp = f"{disk}@@{partition_offset('esp')}"
    environment = {"MTOOLS_SKIP_CHECK": "1"}
    return run([tool, "-i", esp, *arguments], env=environment, timeout=MTOOLS_DEADLINE_S)


# Models and policies on the state partition.


def change_model(disk: Path) -> None:
    """Change one byte in the middle of a model."""
    state_partition.change_byte(disk, state_partition.model_file(disk, MODEL, "model.onnx"))


def swap_model(disk: Path) -> None:
    """Put another valid model in the place of one, without a signature of its own."""
    folder = f"{INCOMING}/{MODEL}"
    other = models.MODELS / OTHER_MODEL / "model.onnx"
    state_partition.replace(disk, f"{folder}/model.onnx", other)
    state_partition.remove(disk, f"{folder}/{models.SIGNATURE}")


def remove_policy(disk: Path) -> None:
    """Take the scheduling policy away."""
    state_partition.remove_model(disk, POLICY)


def replace_policy(disk: Path, *, mutant: str) -> None:
    """Put a useless policy, properly signed by the publisher, in the place of ours."""
    with tempfile.TemporaryDirectory() as name:
        source = policy.build(Path(name) / f"{mutant}.onnx", mutant)
        record = models.Record(POLICY, "policy", f"{POLICY}.onnx")
        signed = models.publish(source, record, KEYS / "publisher.pem", Path(name) / "signed")
        for file in sorted(signed.iterdir()):
            state_partition.replace(disk, f"{INCOMING}/{POLICY}/{file.name}", file)


TAMPERS: dict[str, Tamper] = {
    "model": Tamper(
        "one byte of a model on the state partition is changed",
        "its agent is refused with the reason, the rest is healthy, the evidence stays true",
        change_model,
    ),
    "unsigned-model": Tamper(
        "a model is swapped for another valid one without a signature",
        "its agent is refused with the reason, the rest is healthy, the evidence stays true",
        swap_model,
    ),
    "root": Tamper(
        "one byte of the root partition is changed",
        "dm-verity refuses the block and the kernel does not come up",
        change_root,
        must_print="verity.*corrupted",
    ),
    "uki": Tamper(
        "one byte of the kernel inside the UKI is changed",
        "the firmware finds the signature broken and starts nothing",
        change_uki,
        must_print="Access denied",
    ),
    "cmdline-loader": Tamper(
        "an unsigned boot menu entry adds to the command line",
        "the addition is ignored",
        partial(add_loader_entry, options=FOREIGN_WORD),
    ),
    "cmdline-smbios": Tamper(
        "an SMBIOS table adds to the command line",
        "the addition is ignored, or shows in PCR 12 and fails attestation",
        hardware=lambda hardware: replace(hardware, smbios_cmdline=FOREIGN_WORD),
    ),
    "initrd": Tamper(
        "an unsigned boot menu entry hands our UKI a foreign initrd",
        "nothing of the initrd runs",
        partial(add_loader_entry, foreign_initrd=True),
        must_not_print=FOREIGN_MESSAGE,
    ),
    "two-disks": Tamper(
        "a second disk holds the same image",
        "the machine refuses to choose, and says why",
        hardware=lambda hardware: replace(hardware, disks=2),
    ),
    "policy-missing": Tamper(
        "the scheduling policy is not there",
        "the heuristic places the agents, and it is on record",
        remove_policy,
    ),
    "policy-nan": Tamper(
        "the scheduling policy, signed, answers NaN",
        "the heuristic places the agents, and it is on record",
        partial(replace_policy, mutant="nan"),
    ),
    "policy-overlap": Tamper(
        "the scheduling policy, signed, proposes an instance that overlaps another",
        "the heuristic places the agents, and it is on record",
        partial(replace_policy, mutant="overlap"),
    ),
    "evidence": Tamper(
        "each file of the evidence is altered, one at a time",
        "the verifier refuses every time, and names the file",
    ),
    "no-tpm": Tamper(
        "the machine has no TPM",
        "agents that must be measured are refused, the others start",
        hardware=lambda hardware: replace(hardware, has_tpm=False),
    ),
}
