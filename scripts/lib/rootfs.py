"""The root file system tree from Debian parts: extracted packages and wheels, pruned, compiled.

The part below the product depends on locked lists only, so it is kept in ``build/cache/root`` by
the hash of what it is made from; a change in ainit or in a unit copies it and lays the product
anew.

    tree = build(release=False)
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from lib import product, sbom, tree, wheels
from lib.debian import Archive, Entry
from lib.host import BUILD, CACHE, REPOSITORY, exclusive, published_tree, run
from lib.progress import step

PRUNE = REPOSITORY / "scripts" / "prune.txt"
WHEELS = REPOSITORY / "scripts" / "wheels.txt"
COMPONENTS = "components.json"
# Code whose change means another base: that which lays it out.
RECIPE = ("rootfs.py", "tree.py", "wheels.py")


def destination(*, release: bool) -> Path:
    """Return where the finished tree lies."""
    return BUILD / ("root-release" if release else "root")


def base(entries: list[Entry], cache: Path = CACHE / "root") -> Path:
    """Return the directory of the tree below the product, made when it is not in the cache.

    It holds ``tree`` and the software bill of materials of what is in it.
    """
    digest = hashlib.sha256("".join(entry.sha256 for entry in entries).encode())
    for path in (PRUNE, WHEELS, *(Path(__file__).with_name(name) for name in RECIPE)):
        digest.update(path.read_bytes())
    folder = cache / digest.hexdigest()[:16]
    if folder.exists():
        return folder
    debs = Archive().download(entries)
    with step("wheels"):
        found = wheels.download(WHEELS, wheels.GUEST)
    with step("root base") as progress, published_tree(folder) as temporary:
        root = temporary / "tree"
        tree.unpack(debs, root)
        components = [sbom.debian(entry, root) for entry in entries]
        for wheel in found:
            wheels.lay(wheel, root / wheels.DIST_PACKAGES)
            components.append(sbom.wheel(wheels.inspect(wheel)))
        tree.prune(root, PRUNE.read_text(), str(PRUNE))
        (root / "usr/bin/python3").symlink_to("python3.13")
        tree.normalise(root)
        tree.compile_python(root, ["usr/lib/python3.13", "usr/lib/python3"])
        (temporary / COMPONENTS).write_text(json.dumps(components, indent=1))
        progress.note(f"{len(entries)} packages, {len(found)} wheels")
    return folder


def build(*, release: bool, target: Path | None = None, cache: Path = CACHE / "root") -> Path:
    """Build the tree of a development image or of a release, and return where it is."""
    target = target or destination(release=release)
    with exclusive("rootfs"):
        entries = Archive.lock_read(group="root")
        if not release:
            entries += Archive.lock_read(group="shell")
        cached = base(entries, cache)
        with step("root tree"), published_tree(target) as temporary:
            run(["cp", "--archive", "--reflink=auto", f"{cached}/tree/.", str(temporary)])
            components = json.loads((cached / COMPONENTS).read_text())
            product.lay(temporary, release=release)
            sbom.write_root(temporary, components)
    return target
