"""The root file system tree from Debian parts: extracted packages and wheels, pruned, compiled.

The part below the product depends on locked lists only, so it is kept in ``build/cache/root`` by
the hash of what it is made from; a change in ainit or in a unit copies it and lays the product
anew. Modules and what they need of firmware are laid over that copy: they follow the kernel.

    tree = build(Target(), kernel=None)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from lib import debian_lock, modules, nvidia, nvidia_tree, product, sbom, tools, tree, wheels
from lib import kernel as linux
from lib.anatomy import Anatomy
from lib.debian import Archive
from lib.debian_lock import Entry
from lib.host import CACHE, REPOSITORY, HostError, exclusive, published_tree, run
from lib.progress import step
from lib.variant import DEVELOPMENT_GROUP, NVIDIA_GROUP, Target

# Lists of what is left out: one for each group of packages that has any, one for wheels, and one
# for what Buildroot's packages bring.
PRUNE = REPOSITORY / "scripts" / "prune"
COMPONENTS = "components.json"
# Code whose change means another base: that which lays it out.
RECIPE = ("anatomy.py", "rootfs.py", "tree.py", "wheels.py")


def groups_of(target: Target) -> tuple[str, ...]:
    """Return the package lists that make up the tree of a target."""
    development = () if target.release else (DEVELOPMENT_GROUP,)
    return (*target.variant.groups, *development)


def entries_of(target: Target) -> list[Entry]:
    """Return the locked packages of a target, none twice. Raises HostError."""
    found: dict[str, Entry] = {}
    for group in groups_of(target):
        for entry in debian_lock.read(group=group, architecture=target.architecture):
            found.setdefault(entry.package, entry)
    wrong = [e.package for e in found.values() if e.component not in target.variant.components]
    if wrong:
        allowed = ", ".join(sorted(target.variant.components))
        raise HostError(f"{', '.join(wrong)}: not from {allowed}, as the variant wants")
    return list(found.values())


def base(target: Target, cache: Path = CACHE / "root") -> Path:
    """Return the directory of the tree below the product, made when it is not in the cache.

    It holds ``tree`` and the software bill of materials of what is in it.
    """
    entries = entries_of(target)
    locks = [wheels.lock_of(name, target.architecture) for name in target.variant.wheels]
    groups = (*groups_of(target), "wheels")
    lists = [path for group in groups if (path := PRUNE / f"{group}.txt").exists()]
    digest = hashlib.sha256("".join(entry.sha256 for entry in entries).encode())
    for path in (*lists, *locks, *(Path(__file__).with_name(name) for name in RECIPE)):
        digest.update(path.read_bytes())
    folder = cache / digest.hexdigest()[:16]
    if folder.exists():
        return folder
    debs = Archive().download(entries)
    with step("wheels"):
        options = wheels.guest(target.architecture)
        found = [wheel for lock in locks for wheel in wheels.download(lock, options)]
    with step("root base") as progress, published_tree(folder) as temporary:
        root = temporary / "tree"
        tree.unpack(debs, root)
        components = [sbom.debian(entry, root) for entry in entries]
        for wheel in found:
            wheels.lay(wheel, root / wheels.DIST_PACKAGES)
            components.append(sbom.wheel(wheels.inspect(wheel)))
        (root / "usr/bin/python3").symlink_to(Anatomy.of(root).interpreter)
        finish_libraries(root, lists, tools.python_for(target.architecture))
        (temporary / COMPONENTS).write_text(json.dumps(components, indent=1))
        progress.note(f"{len(entries)} packages, {len(found)} wheels")
    return folder


def finish_libraries(root: Path, lists: Iterable[Path], python: Path | None = None) -> None:
    """Leave out what the lists name, and turn Python's libraries into bytecode.

    ``python`` is a tree whose Python runs on this host, if this one's does not.
    """
    places = Anatomy.of(root)
    for path in lists:
        text = path.read_text()
        for name in ("packages", "standard_library"):
            text = text.replace(f"{{{name}}}", getattr(places, name))
        tree.prune(root, text, str(path))
    tree.normalise(root)
    folders = [places.standard_library]
    if not places.packages.startswith(places.standard_library):
        folders.append(str(Path(places.packages).parent))
    tree.compile_python(root, folders, python)
    tree.drop_sources(root, folders)


def finish(
    root: Path, target: Target, objects: Path | None = None, python: Path | None = None
) -> list[sbom.Component]:
    """Make the product's tree of one that another builder made; return what that added.

    Modules, if there are any, are in the tree and not signed; ``objects`` is where their kernel was
    compiled. ``python`` is a program of the tree's version that runs here. Raises HostError.
    """
    components: list[sbom.Component] = []
    if target.variant.has_modules:
        if objects is None:
            raise HostError(f"a tree for {target.variant.name} needs --kernel DIR")
        certificate = linux.module_certificate()
        modules.finish(root / "usr", modules.Signer(objects, linux.MODULE_KEY, certificate))
        modules.prune_firmware(root)
        if NVIDIA_GROUP in target.variant.groups:
            components = nvidia_tree.lay_over(root, nvidia.selected(), objects, certificate)
    finish_libraries(root, [PRUNE / "buildroot.txt", PRUNE / "wheels.txt"], python)
    product.lay(root, target, python)
    return components


def build(
    target: Target,
    kernel: Path | None = None,
    out: Path | None = None,
    cache: Path = CACHE / "root",
) -> Path:
    """Build the tree of a target, and return where it is.

    ``kernel`` is the directory that `lib.kernel.build` returned: a variant with modules takes them
    from there. Raises HostError.
    """
    out = out or target.root
    with exclusive("rootfs"):
        cached = base(target, cache)
        with step("root tree"), published_tree(out) as temporary:
            run(["cp", "--archive", "--reflink=auto", f"{cached}/tree/.", str(temporary)])
            components = json.loads((cached / COMPONENTS).read_text())
            if target.variant.has_modules:
                if kernel is None:
                    raise HostError(f"a tree for {target.variant.name} needs --kernel DIR")
                modules.lay(kernel, temporary)
                if NVIDIA_GROUP in target.variant.groups:
                    components += nvidia_tree.lay(temporary, nvidia.selected(), kernel)
            product.lay(temporary, target, tools.python_for(target.architecture))
            sbom.write_root(temporary, components)
    return out
