"""The root that every supervisor runs in: pinned Debian packages, and ainit as an image lays it.

Nothing of the host is in it, so no page of a supervisor is shared with a process outside, and
proportional memory (PSS) is the supervisor's own.

    lower = layers()         # for overlayfs, the topmost first
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from lib import bundle, debian_lock, native
from lib.debian import Archive
from lib.host import BUILD, REPOSITORY, exclusive, published_tree, run
from lib.progress import step
from lib.tree import unpack

FOLDER = BUILD / "bench/peers"
GROUP = "peers"
SOURCE = Path(__file__).with_name("service.c")
GUEST = Path(__file__).with_name("guest.py")
COMPILE = ["python3", "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
GROUPS = "root:x:0:\nutmp:x:43:\nnogroup:x:65534:\n"
INIT = "usr/sbin/init"
MACHINE_ID = "5a8e4f0f6c2b4e0b9d3b6a1c7d2e9f10\n"


def layers() -> list[Path]:
    """The directories of the root, the topmost first; made where they are not up to date.

    Raises HostError.
    """
    return [_ainit(), _peers()]


def service() -> Path:
    """The program that every service is, compiled."""
    path = FOLDER / "service"
    FOLDER.mkdir(parents=True, exist_ok=True)
    run(["gcc", "-static", "-Os", "-s", "-Wall", "-Wextra", "-o", str(path), str(SOURCE)])
    return path


def version(package: str) -> str:
    """The version of a peer that is measured."""
    return next(e.version for e in debian_lock.read(group=GROUP) if e.package == package)


def _peers() -> Path:
    entries = debian_lock.read(group=GROUP)
    key = hashlib.sha256("".join(entry.sha256 for entry in entries).encode())
    key.update(Path(__file__).read_bytes())
    path = FOLDER / f"root-{key.hexdigest()[:16]}"
    with exclusive("peers"):
        if path.exists():
            return path
        debs = Archive().download(entries)
        with step("peers") as progress, published_tree(path) as root:
            unpack(debs, root)
            (root / "etc/passwd").write_text(PASSWD)
            (root / "etc/group").write_text(GROUPS)
            (root / "etc/machine-id").write_text(MACHINE_ID)
            for name in ("root", "tmp", "run", "mnt"):
                (root / name).mkdir(exist_ok=True)
            if not (root / "usr/bin/sh").exists():
                (root / "usr/bin/sh").symlink_to("dash")
            # What would be done at every boot of a whole Debian is not the supervisor's start.
            for generator in (root / "usr/lib/systemd/system-generators").glob("*"):
                generator.unlink()
            run(["chroot", str(root), *COMPILE, "/usr/lib/python3", "/usr/lib/python3.13"])
            progress.note(f"{len(entries)} packages")
        return path


def _ainit() -> Path:
    """A layer with ainit where the image has it, its bytecode compiled by the root's Python."""
    native.build()
    path = FOLDER / "ainit"
    with published_tree(path) as layer:
        package = layer / "usr/lib/ainit/ainit"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "ainit", package, ignore=ignored)
        shutil.copyfile(GUEST, layer / "usr/lib/ainit/guest.py")
        root = _peers()
        script = 'mount --bind "$1" "$2/mnt" && shift 2 && exec chroot "$@"'
        names = ["-s", "/mnt", "-p", "/usr/lib/ainit", "/mnt"]
        command = ["unshare", "--mount", "sh", "-c", script, "sh", str(package.parent), str(root)]
        run([*command, str(root), *COMPILE, *names])
        bundle.write(layer)
        (layer / INIT).parent.mkdir(parents=True)
        shutil.copyfile(REPOSITORY / "rootfs-overlay" / INIT, layer / INIT)
    return path
