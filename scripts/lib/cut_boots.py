"""Points of a real update that are really booted: firmware, loader, kernel and ainit decide.

The disk is the image's own, the new release the same root under another salt: so it has another
root hash, another image, and slot B to itself. Which release runs is what PID 1 says is below the
root. It goes on where it was interrupted, and ends when its time is up.

    sample(prepare(image, folder), 200, 60.0, folder / "boots.json", progress.update)
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ainit.errors import AinosError
from ainit.ota.pe import Image
from lib import assembly, cut_guest, cut_log, cut_operations, cut_trial, prediction, verity
from lib.cut_guest import Job
from lib.cut_log import SECTOR, Log
from lib.cut_oracle import Known, Oracle, Part
from lib.cut_points import Disk, FileBase, Point, Replay
from lib.cut_stand import Release, Stand
from lib.cut_trial import Trial
from lib.host import HostError, published, run, sha256_file
from lib.layout import FIRST_OFFSET, PARTITIONS
from lib.machine import Machine
from lib.variant import architecture_of

SEED = 8
VERSION = "9.0.0"
UP_DEADLINE_S = 300.0
SLOTS = {"vda2, vda3": "old", "vda4, vda5": "new"}  # what is below the verified root


@dataclass(frozen=True, slots=True)
class Ground:
    """A real update that was logged: the trial, and the points that may be booted."""

    trial: Trial
    stand: Stand
    image: Path


def prepare(image: Path, folder: Path) -> Ground:
    """Make the new release and log its installation, once for an image."""
    stamp, wanted = folder / "image.sha256", sha256_file(image / assembly.MANIFEST)
    is_made = stamp.exists() and stamp.read_text() == wanted
    if not is_made:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _build(image, folder)
    old, new = _own(image), _second(image, folder)
    loader = (image / Path(architecture_of(image).boot_loader).name).read_bytes()
    stand = Stand(image / assembly.DISK, old, new, (loader, loader), {})
    facts = cut_operations.facts(stand) | {"root": "/dev/vda"}
    files = {"uki": new.uki, "approval": new.approval, "loader": loader, "verity": new.verity}
    job = Job("update", cut_operations.UPDATE, facts)
    if not is_made:
        cut_guest.run(image, stand.base, [job], folder / "guest", files)
        stamp.write_text(wanted)
    log = cut_guest.log_of(folder / "guest", 0)
    world = cut_operations.of_update(stand)
    return Ground(Trial("booted", log, stand.base, world), stand, image)


def chosen(log: Log, count: int) -> list[Point]:
    """So many points, or fewer: those among writes to table or boot partition first, the same
    every time, and of those that are called the same one.
    """
    every = list(cut_trial.points(log))
    touching = [each for each in every if touches(log, each)]
    others = [each for each in every if each not in touching]
    draw = random.Random(SEED)
    draw.shuffle(touching)
    draw.shuffle(others)
    named: dict[str, Point] = {}
    for each in touching + others:
        named.setdefault(str(each), each)
    return list(named.values())[:count]


def touches(log: Log, point: Point) -> bool:
    """Whether a cut lies among writes to a table or the boot partition."""
    end = (FIRST_OFFSET + PARTITIONS["esp"].size) // SECTOR
    tail = FIRST_OFFSET // SECTOR + sum(each.size for each in PARTITIONS.values()) // SECTOR
    return any(write.sector < end or write.sector >= tail for write in log.epochs[point.epoch])


def boot(ground: Ground, held: Disk, folder: Path) -> str:
    """Which release runs when a machine with this disk is switched on; empty: none came up."""
    with Machine(ground.image, folder) as machine:
        machine.alter(lambda path: _put(path, held))
        machine.start()
        if not machine.wait_control(UP_DEADLINE_S):
            return ""
        root = str(machine.call("org.ainos.Control.Status")["machine"]["root"])
        return next((name for below, name in SLOTS.items() if below in root), "")


def sample(
    ground: Ground, count: int, minutes: float, results: Path, tell: Callable[[int, int], None]
) -> dict[str, str]:
    """Boot the points that were not booted yet, until the time is up: what was found wrong at each,
    empty for nothing. ``results`` keeps them.
    """
    known: dict[str, str] = json.loads(results.read_text()) if results.exists() else {}
    log = cut_log.read(ground.trial.log)
    wanted = chosen(log, count)
    oracle = Oracle(ground.trial.world)
    until = time.monotonic() + 60 * minutes
    for point, held in _disks(ground, log, wanted):
        tell(len(known), len(wanted))
        if time.monotonic() > until:
            break
        if str(point) not in known:
            try:
                started = boot(ground, held, results.parent / "machine")
            except (AinosError, HostError, OSError) as error:
                print(f"{point}: not booted: {error}")
                continue
            foreseen = oracle.judge(held).version
            right = ("new" if foreseen == VERSION else "old") if foreseen else ""
            told = f"starts {started or 'nothing'}, not {right or 'nothing'}"
            known[str(point)] = "" if started == right else told
            with published(results) as file:
                file.write_text(json.dumps(known, indent=1) + "\n")
    return known


def _disks(ground: Ground, log: Log, wanted: Iterable[Point]) -> Iterable[tuple[Point, Disk]]:
    """Each point's disk; they come in any order, so each is replayed from the start."""
    for point in wanted:
        replay = Replay(log, FileBase(ground.trial.base))
        try:
            yield point, replay.at(point)
        finally:
            replay.close()


def _put(path: Path, held: Disk) -> None:
    with path.open("r+b") as file:
        for at, data in held.changed(0, held.size):
            file.seek(at)
            file.write(data)


def _own(image: Path) -> Release:
    manifest = json.loads((image / assembly.MANIFEST).read_text())
    known = _known(manifest["version"], manifest["root"]["hash"], image, image)
    return Release(known, b"", b"", b"", b"")


def _second(image: Path, folder: Path) -> Release:
    """The release that `_build` made."""
    uki, tree = ((folder / name).read_bytes() for name in ("uki.efi", "root.verity"))
    approval = (image / assembly.APPROVAL).read_bytes()
    root_hash = (folder / "root.hash").read_text()
    return Release(_known(VERSION, root_hash, image, folder), uki, b"", tree, approval)


def _build(image: Path, folder: Path) -> None:
    """A release of the same root with another root hash: hash tree and image."""
    architecture = architecture_of(image)
    sections = Image((image / "uki.efi").read_bytes()).sections
    kernel, tree = folder / "kernel", folder / "tree"
    kernel.write_bytes(sections[".linux"])
    (tree / "usr/lib").mkdir(parents=True, exist_ok=True)
    manifest = json.loads((image / assembly.MANIFEST).read_text())
    text = sections[".osrel"].decode().rstrip("\0").replace(manifest["version"], VERSION)
    (tree / "usr/lib/os-release").write_text(text)
    made = verity.build(image / "root.erofs", folder / "root.verity", VERSION)
    unsigned, uki = folder / "unsigned.efi", folder / "uki.efi"
    words = verity.command_line(made, architecture)
    assembly.build_uki(assembly.Inputs(tree, kernel, ()), words, unsigned)
    run([str(prediction.SECUREBOOT / "sign"), str(unsigned), str(uki)])
    (folder / "root.hash").write_text(made.root_hash)


def _known(version: str, root_hash: str, image: Path, folder: Path) -> Known:
    parts = (folder / "uki.efi", image / "root.erofs", folder / "root.verity")
    return Known(version, root_hash, *(Part.of(path.read_bytes()) for path in parts))
