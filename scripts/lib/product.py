"""The product on top of a root tree, whichever builder made that: ainit, units, agents, plan.

`lay` is what `make image` and Buildroot's post-build script both call. The tree needs Python and
the libraries that ainit imports; everything that is AINOS's own comes from this checkout.

    lay(tree, Target())
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from lib import bundle, emulator, erofs, loader_cache, models, native
from lib.anatomy import Anatomy
from lib.host import KEYS, REPOSITORY, HostError, run
from lib.layout import fixed_uuid
from lib.release import PRODUCT, version
from lib.tree import TreeError, compile_python, normalise, shells, unresolved
from lib.variant import NVIDIA_GROUP, Target

OVERLAY = REPOSITORY / "rootfs-overlay"
PACKAGE = "usr/lib/ainit"
LIBRARY = "usr/lib/ainos"
# Parts of the overlay that only some images have.
DEVELOPMENT = REPOSITORY / "scripts" / "development.txt"
NVIDIA = REPOSITORY / "scripts" / "nvidia.txt"
PUBLISHER = KEYS / "publisher.pub.pem"
UPDATE_ROOT = KEYS / "repository" / "root.json"  # docs/release.md
# Only what the machine runs: neither training code nor what is compiled. Nor is this host's own
# library, which git ignores: the one of the tree's architecture is.
NOT_PACKAGED = ("ainit/sched/train/", "ainit/sched/emulator/", "ainit/linux/native.c")
NATIVE = f"{PACKAGE}/ainit/linux/{native.NAME}"
MOUNT_POINTS = ("dev", "proc", "sys", "run", "tmp", "var/lib/ainos", "etc")
# Where PID 1 mounts an agent's bundle: what a traceback says its files are.
BUNDLES = "/run/ainit/agents"


def lay(tree: Path, target: Target, python: Path | None = None) -> None:
    """Lay the product over a root tree and check the result.

    ``python`` is the same Python where it runs on this host, if the tree's own does not.
    """
    places = Anatomy.of(tree)
    for path in MOUNT_POINTS:
        (tree / path).mkdir(parents=True, exist_ok=True)
    release = target.release
    left_out = parts(DEVELOPMENT) if release else frozenset()
    if NVIDIA_GROUP not in target.variant.groups:
        left_out |= parts(NVIDIA)
    for source in sources("rootfs-overlay"):
        inside = source.relative_to(OVERLAY)
        if str(inside) not in left_out:
            _copy(source, tree / inside)
    if target.agents:
        lay_agents(tree, target.agents)
    for source in sources("ainit"):
        inside = source.relative_to(REPOSITORY)
        if not str(inside).startswith(NOT_PACKAGED):
            _copy(source, tree / PACKAGE / inside)
    (tree / places.packages / "ainit.pth").write_text(f"/{PACKAGE}\n")
    (tree / "usr/lib/os-release").write_text(os_release(target.variant.name, release=release))
    _link(tree / "etc/os-release", "../usr/lib/os-release")
    _copy_trusted(PUBLISHER, tree / LIBRARY / "keys/publisher.pem")
    _copy_trusted(UPDATE_ROOT, tree / LIBRARY / "update/root.json")
    if not (tree / NATIVE).exists():
        _copy_library(native.place(places.architecture), tree / NATIVE, "scripts/native")
    if not release and not (tree / places.libraries / emulator.SONAME).exists():
        # The emulated NVML, where the real one would be; a tree with NVIDIA's own keeps that.
        library = emulator.place(places.architecture)
        _copy_library(library, tree / places.libraries / library.name, "scripts/emulator")
    compile_plan(tree)
    compile_python(tree, [PACKAGE], python)
    bundle.write(tree)
    pack_agents(tree, python)
    normalise(tree)
    libraries = loader_cache.libraries(tree, [places.libraries])
    (tree / "etc/ld.so.cache").write_bytes(loader_cache.cache(libraries, places.architecture))
    shutil.rmtree(tree / "var/cache", ignore_errors=True)
    check(tree, release=release)


def check(tree: Path, *, release: bool) -> None:
    """Raise TreeError with everything that a finished tree lacks or must not have."""
    findings = unresolved(tree)
    if release:
        findings += [f"{path} is a shell, in a release image" for path in shells(tree)]
    for path in (
        "usr/sbin/init",
        "usr/bin/python3",
        f"{LIBRARY}/plan.json",
        f"{LIBRARY}/machine.toml",
        NATIVE,
    ):
        if not (tree / path).exists():
            findings.append(f"/{path} is missing")
    findings += bundle.stale(tree)
    if not os.access(tree / "usr/sbin/init", os.X_OK):
        findings.append("/usr/sbin/init is not executable")
    if findings:
        raise TreeError("\n".join(["the root tree is not right:", *findings]))


def os_release(hardware: str, *, release: bool) -> str:
    """Return os-release(5) of this version; ``hardware`` is the variant that updates go by."""
    variant = "release" if release else "development"
    return (
        f'ID={PRODUCT}\nNAME="AINOS"\nPRETTY_NAME="AINOS {version()}"\n'
        f"VERSION_ID={version()}\nVERSION={version()}\nVARIANT_ID={variant}\n"
        f"IMAGE_ID={PRODUCT}\nIMAGE_VERSION={version()}\nAINOS_VARIANT={hardware}\n"
    )


def compile_plan(tree: Path) -> None:
    """Compile units, manifests and machine configuration; a mistake in them ends the build."""
    folder = tree / LIBRARY
    command = [sys.executable, "-m", "ainit.child.compile", "--units", str(folder / "units")]
    command += ["--agents", str(folder / "agents"), "--machine", str(folder / "machine.toml")]
    run([*command, "--out", str(folder / "plan.json")], cwd=REPOSITORY)


def lay_agents(tree: Path, folder: Path) -> None:
    """Lay agents from outside the checkout beside the overlay's. Raises HostError."""
    found = sorted(path.parent for path in folder.glob("*/manifest.toml"))
    if not found:
        raise HostError(f"{folder} holds no agent: NAME/manifest.toml is looked for")
    for agent in found:
        place = tree / LIBRARY / "agents" / agent.name
        if place.exists():
            raise HostError(f"{agent}: the image has an agent of this name")
        shutil.copytree(agent, place, ignore=shutil.ignore_patterns("__pycache__"))


def pack_agents(tree: Path, python: Path | None = None) -> None:
    """Replace each agent's directory by one read-only file system, which is what gets measured."""
    for folder in sorted((tree / LIBRARY / "agents").iterdir()):
        if not folder.is_dir():
            continue
        name = folder.name
        models.agent_data(name, folder)
        compile_python(folder, [""], python or tree, prefix=f"{BUNDLES}/{name}")
        normalise(folder)
        erofs.build(folder, folder.with_name(f"{name}.erofs"), fixed_uuid(f"agent {name}"))
        shutil.rmtree(folder)


def parts(path: Path) -> frozenset[str]:
    """Return the parts of the overlay that a list names."""
    lines = (line.split("#", 1)[0].strip() for line in path.read_text().splitlines())
    return frozenset(line for line in lines if line)


def sources(folder: str) -> list[Path]:
    """Return the files below a folder of this checkout that git has or would take.

    What a tool left there (caches, bytecode) is ignored by git, and so never gets into an image.
    """
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others"]
    listed = run([*command, "--exclude-standard", folder], cwd=REPOSITORY).split("\0")
    paths = sorted({REPOSITORY / name for name in listed if name})
    return [path for path in paths if os.path.lexists(path)]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _copy_trusted(source: Path, target: Path) -> None:
    if not source.exists():
        raise HostError(f"{source} is missing; `secureboot/keys` makes it")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _copy_library(library: Path, target: Path, script: str) -> None:
    if not library.exists():
        raise HostError(f"{library} is missing; `{script}` makes it")
    shutil.copyfile(library, target)


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)
