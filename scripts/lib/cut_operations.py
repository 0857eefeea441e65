"""The operations that are cut, as the machine's first process runs them, and what may follow.

===============  =====================================================================
`UPDATE`         the whole transaction of an update: slot, table, loader, image, record
`COMMIT`         the tries of the entry that runs are given back
`ROLLBACK`       the new entry loses its tries, so that the old one starts
`INGEST`         a model is admitted
===============  =====================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath

from lib import disk
from lib.cut_oracle import Claim, Files, World
from lib.cut_stand import Stand
from lib.layout import PARTITIONS, slot_uuids

STATE = "update/state.json"
MODEL = "placement"

_GROUND = """
import os, sys
from ainit.linux import files
from ainit.ota import boot, disk, esp_files, history, install
device = job["disk"]
def on_esp():
    return mounted(device + "1", "vfat", "/tmp/esp", "umask=0077")
part = esp_files.Esp(device + "1", on_esp)
def slot(name, number):
    labels = (f"root_{name}", f"verity_{name}")
    held = [disk.Part(f"{device}{number + at}", label, job[label])
            for at, label in enumerate(labels)]
    return disk.Slot(name, *held)
slots = disk.Slots(device, slot("a", 2), slot("b", 4))
"""
UPDATE = (
    _GROUND
    + """
def fill(root, tree):
    for descriptor, path in ((root, job["root"]), (tree, f"{WORK}/verity")):
        with open(path, "rb") as file:
            at = 0
            while data := file.read(1 << 16):
                at += os.pwrite(descriptor, data, at)
with mounted(device + "6", "ext4", "/tmp/state"):
    records = history.Records("/tmp/state/update")
    state = history.State(history.INSTALLING, job["new"], job["old"])
    records.write(state)
    staged = install.Staged(job["new"], job["root_hash"], f"{WORK}/uki", f"{WORK}/approval",
                            f"{WORK}/loader")
    ground = install.Ground(slots, part, job["old"], "")
    pending = lambda: records.write(history.State(history.PENDING, job["new"], job["old"]))
    install.install(staged, fill, pending=pending, ground=ground)
"""
)
COMMIT = (
    _GROUND
    + """
boot.rearm(part, "EFI/Linux/" + job["entry"])
with mounted(device + "6", "ext4", "/tmp/state"):
    history.Records("/tmp/state/update").write(None)
"""
)
ROLLBACK = (
    _GROUND
    + """
with mounted(device + "6", "ext4", "/tmp/state"):
    records = history.Records("/tmp/state/update")
    records.write(history.State(history.ROLLING_BACK, job["new"], job["old"]))
    boot.rearm(part, "EFI/Linux/" + job["before"])
    boot.condemn(part, "EFI/Linux/" + job["entry"])
"""
)
INGEST = """
from pathlib import Path
from ainit.child.source import open_source
from ainit.store import fetch
from ainit.store.admission import Store
from ainit.store.cover import KernelCover
from ainit.store.keys import load_keys
with mounted(job["disk"] + "6", "ext4", "/tmp/state"):
    keys = load_keys(Path(f"{WORK}/keys"))
    store = Store("/tmp/state/models", KernelCover(), keys)
    with open_source(f"{WORK}/model") as source:
        name = fetch.fetch(source, store.root, store.signer, lambda done, total: None)
    verdict = store.admit(name)
    if verdict.reason:
        raise ValueError(verdict)
    store.collect()
"""


def facts(stand: Stand) -> dict[str, object]:
    """What the operations have to know of a stand."""
    root_a, verity_a = slot_uuids(stand.old.known.root_hash)
    return {
        "root_a": str(root_a),
        "verity_a": str(verity_a),
        "root_b": str(PARTITIONS["root_b"].uuid),
        "verity_b": str(PARTITIONS["verity_b"].uuid),
        "old": stand.old.known.version,
        "new": stand.new.known.version,
        "root_hash": stand.new.known.root_hash,
        "root": "/dev/cut/root",
        "before": PurePath(disk.entry_name(stand.old.known.version)).name,
        "entry": f"ainos_{stand.new.known.version}+2-1.efi",  # as a boot leaves it
    }


def of_update(stand: Stand, *, done: bool = True) -> World:
    """What may be there while an update is installed, and once it was."""
    old, new = stand.old.known.version, stand.new.known.version
    return replace(
        common(stand),
        allowed=frozenset({old, new}),
        done=frozenset({new} if done else ()),
        claimed=claims(old, new),
    )


def of_commit(stand: Stand) -> World:
    """While the new release runs and is committed."""
    return replace(common(stand), allowed=frozenset({stand.new.known.version}))


def of_rollback(stand: Stand) -> World:
    """While the new release is left again."""
    old, new = stand.old.known.version, stand.new.known.version
    return replace(common(stand), allowed=frozenset({old, new}), done=frozenset({old}))


def unchanged(stand: Stand) -> World:
    """While only the state partition is written to."""
    return replace(common(stand), allowed=frozenset({stand.old.known.version}))


def of_ingest(stand: Stand, model: Files) -> World:
    """While a model is admitted: what names it is never there before all of it is."""
    return replace(
        unchanged(stand),
        lost=lambda files, done: torn_model(files, model, done=done),
    )


def common(stand: Stand) -> World:
    """The releases, both loaders and the user's files."""
    return World(
        (stand.old.known, stand.new.known),
        frozenset(),
        loaders=frozenset(hashlib.sha256(each).hexdigest() for each in stand.loaders),
        files={
            name: frozenset({hashlib.sha256(data).hexdigest()})
            for name, data in stand.files.items()
        },
    )


def claims(old: str, new: str) -> Callable[[Files], Claim]:
    """What the record of an update says may start: before it is pending, the old release only."""

    def claimed(files: Files) -> Claim:
        phase = json.loads(files[STATE])["phase"] if STATE in files else ""
        if phase == "pending":
            return Claim(frozenset({old, new}), new)
        return Claim(frozenset({old}))

    return claimed


def torn_model(files: Files, model: Files, *, done: bool) -> str:
    """What is lost of a model that was admitted; empty for nothing."""
    note = files.get(f"models/names/{MODEL}.json")
    if note is None:
        return f"{MODEL} is not there after all was done" if done else ""
    folder = f"models/objects/{json.loads(note)['object']}"
    for name, content in model.items():
        if files.get(f"{folder}/{name}") != content:
            return f"{MODEL} is named, and {name} is not there"
    return ""
