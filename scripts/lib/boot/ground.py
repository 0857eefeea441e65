"""The disk that every init is booted from: the image's own root, with the peers laid over it.

The root has the product as this checkout has it, systemd as Debian packages it, a static C program
(``guest.c``), and two plans: a small one of equal services for ainit and systemd, and the image's
own. dm-verity, partitions and state are those of an image; only the ESP is empty.

    disk, cmdline = make()
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lib import assembly, bundle, debian_lock, disk, erofs, loader_cache, native, product, verity
from lib.anatomy import Anatomy
from lib.architecture import X86_64
from lib.debian import Archive
from lib.host import BUILD, REPOSITORY, HostError, exclusive, published, published_tree, run
from lib.layout import EROFS_UUID
from lib.progress import step
from lib.release import version
from lib.tree import compile_python, unpack
from lib.variant import DEFAULT

FOLDER = BUILD / "bench/boot"
SOURCE = Path(__file__).with_name("guest.c")
SERVICES = 8
NVDIMM_STEP = 128 << 20  # its size is a multiple of this
GUEST = "/usr/lib/bench/guest"
CONTROL = "/run/ainit/control"
# A varlink service of systemd's PID 1, which answers what ainit's is asked.
SYSTEMD = "/run/systemd/userdb/io.systemd.DynamicUser"
PACKAGES = frozenset({
    "systemd", "libsystemd-shared", "libsystemd0", "libseccomp2", "libmount1", "libblkid1",
    "libselinux1", "libpcre2-8-0", "libcap2", "libacl1", "libattr1", "libaudit1", "libcap-ng0",
    "libpam0g", "libcrypt1", "libapparmor1", "mount",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ground:
    """A disk, the kernel for it and the kernel's command line without ``init=``."""

    disk: Path
    kernel: Path
    cmdline: str


def make() -> Ground:
    """Make what is not there yet. Raises HostError."""
    manifest = BUILD / "image" / assembly.MANIFEST
    if not manifest.exists():
        raise HostError(f"{manifest} is missing; `make image` makes it")
    with exclusive("boot-ground"):
        root = _root()
        return _disk(root)


def _root() -> Path:
    out = FOLDER / "root"
    entries = [e for e in debian_lock.read(group="peers") if e.package in PACKAGES]
    debs = Archive().download(entries)
    with step("boot root") as progress, published_tree(out) as tree:
        run(["cp", "--archive", "--reflink=auto", f"{DEFAULT.root}/.", str(tree)])
        unpack(debs, tree)
        shutil.rmtree(tree / "usr/share/doc", ignore_errors=True)
        shutil.rmtree(tree / "usr/share/locale", ignore_errors=True)
        shutil.rmtree(tree / "usr/share/man", ignore_errors=True)
        _refresh(tree)
        bench = tree / "usr/lib/bench"
        bench.mkdir()
        command = ["gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror"]
        run([*command, "-o", str(tree / GUEST[1:]), str(SOURCE)])
        _plans(tree)
        _units(tree)
        places = Anatomy.of(tree)
        libraries = loader_cache.libraries(tree, [places.libraries])
        (tree / "etc/ld.so.cache").write_bytes(loader_cache.cache(libraries, places.architecture))
        (tree / "etc/machine-id").write_text("5a8e4f0f6c2b4e0b9d3b6a1c7d2e9f10\n")
        progress.note(f"{len(debs)} packages of systemd's")
    return out


def _refresh(tree: Path) -> None:
    """Lay ainit as it is in this checkout over the image's tree."""
    package = tree / product.PACKAGE
    shutil.rmtree(package)
    for source in product.sources("ainit"):
        inside = source.relative_to(REPOSITORY)
        if not str(inside).startswith(product.NOT_PACKAGED):
            target = package / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    shutil.copyfile(native.build(), tree / product.NATIVE)
    shutil.copyfile(product.OVERLAY / "usr/sbin/init", tree / "usr/sbin/init")
    compile_python(tree, [product.PACKAGE])
    bundle.write(tree)


def _unit(stage: str, words: list[str], kind: str, after: list[str], more: str = "") -> str:
    return (
        f'[service]\ndescription = "bench"\nexec = {json.dumps(words)}\ntype = "{kind}"\n'
        f'stage = "{stage}"\nafter = {json.dumps(after)}\nrestart = "never"\n'
        f"essential = false\n{more}"
    )


def _plans(tree: Path) -> None:
    """The small plan in the place of the image's; that one, with a probe, beside it."""
    library = tree / product.LIBRARY
    bench = tree / "usr/lib/bench"
    service = _unit("main", [GUEST, "service"], "notify", [])
    services = {f"bench-{number}": service for number in range(SERVICES)}
    first = _unit("early", [GUEST, "answer", "first", CONTROL], "oneshot", [])
    ready = _unit("main", [GUEST, "answer", "ready", CONTROL], "oneshot", [*services])
    with published_tree(FOLDER / "units") as folder:
        for name, text in {**services, "first": first, "ready": ready}.items():
            (folder / f"{name}.toml").write_text(text)
    with published_tree(FOLDER / "product-units") as folder:
        (folder / "first.toml").write_text(first)
    compiler = [sys.executable, "-m", "ainit.child.compile"]
    compiler += ["--machine", str(library / "machine.toml")]
    base = ["--base", str(library / "plan.json"), "--units", str(FOLDER / "product-units")]
    run([*compiler, *base, "--out", str(bench / "product.json")], cwd=REPOSITORY)
    (FOLDER / "no-agents").mkdir(exist_ok=True)
    own = ["--units", str(FOLDER / "units"), "--agents", str(FOLDER / "no-agents")]
    run([*compiler, *own, "--out", str(library / "plan.json")], cwd=REPOSITORY)


def _units(tree: Path) -> None:
    """The same services for systemd, without and with its default dependencies."""
    folder = tree / "etc/systemd/system"
    folder.mkdir(parents=True, exist_ok=True)
    for generator in (tree / "usr/lib/systemd/system-generators").glob("*"):
        generator.unlink()
    for name, lean in (("lean", "DefaultDependencies=no\n"), ("stock", "")):
        services = [f"{name}-{n}.service" for n in range(SERVICES)]
        unit = f"[Unit]\n{lean}[Service]\nType=notify\nExecStart={GUEST} service\n"
        for service in services:
            (folder / service).write_text(unit)
        listed = " ".join(services)
        (folder / f"{name}-ready.service").write_text(
            f"[Unit]\n{lean}After={listed}\n"
            f"[Service]\nType=oneshot\nExecStart={GUEST} answer ready {SYSTEMD}\n"
        )
        wanted = "systemd-journald.service systemd-journald.socket" if lean else "basic.target"
        (folder / f"{name}.target").write_text(
            f"[Unit]\n{lean}Wants={wanted} {listed} {name}-ready.service\n"
        )
    (tree / "etc/systemd/journald.conf").write_text("[Journal]\nStorage=volatile\n")


def _disk(root: Path) -> Ground:
    out = FOLDER / "disk.img"
    kernel, words = FOLDER / "kernel", FOLDER / "cmdline"
    digest = hashlib.sha256(assembly.tree_digest(root).encode())
    digest.update(Path(erofs.__file__).read_bytes() + Path(disk.__file__).read_bytes())
    stamp = FOLDER / "disk.sha256"
    from ainit.ota.pe import Image

    kernel.write_bytes(Image((BUILD / "image/uki.efi").read_bytes()).sections[".linux"])
    if out.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest():
        return Ground(out, kernel, words.read_text())
    with step("boot disk") as progress:
        packed, hashes = FOLDER / "root.erofs", FOLDER / "root.verity"
        erofs.build(root, packed, EROFS_UUID, erofs.SMALL)
        tree = verity.build(packed, hashes, version())
        cmdline = re.sub(r" init=\S+", "", verity.command_line(tree, X86_64))
        words.write_text(cmdline)
        esp, state = FOLDER / "esp.fat", FOLDER / "state.ext4"
        disk.build_esp({}, esp)
        disk.build_state({}, state, DEFAULT.layout["state"].size)
        disk.assemble(disk.Parts(esp, packed, hashes, state, tree.root_hash), DEFAULT.layout, out)
        os.truncate(out, -(-out.stat().st_size // NVDIMM_STEP) * NVDIMM_STEP)
        progress.note(f"{packed.stat().st_size >> 20} MiB")
    with published(stamp) as file:
        file.write_text(digest.hexdigest())
    return Ground(out, kernel, cmdline)
