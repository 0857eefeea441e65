"""The kernel's source: Debian's package, unpacked for our build or packed for another builder.

unpack(entry)                       # to SOURCE
tarball = source_tarball(entry)     # linux-6.12.107-1.tar.xz
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from lib.debian import Archive
from lib.debian_lock import Entry
from lib.host import CACHE, published, published_tree, run
from lib.progress import step

OUTPUT = CACHE / "kernel"
WORK = OUTPUT / "work"
SOURCE = WORK / "source"


def unpack(source: Entry) -> None:
    """Lay out the kernel's source, unless this very package is laid out already."""
    stamp = SOURCE / ".package-sha256"
    if stamp.exists() and stamp.read_text() == source.sha256:
        return
    (package,) = Archive().download([source])
    with step("kernel source") as progress:
        progress.note(source.version)
        for objects in WORK.glob("objects*"):
            shutil.rmtree(objects)
        with published_tree(SOURCE) as tree:
            extract = "tar --extract --xz --strip-components=1 --directory"
            _pipe(source, package, f"{extract} {shlex.quote(str(tree))}")
            (tree / stamp.name).write_text(source.sha256)


def source_tarball(source: Entry) -> Path:
    """Return the source as a tarball whose name holds its version, for Buildroot's cache."""
    tarball = OUTPUT / f"linux-{source.version}.tar.xz"
    if not tarball.exists():
        (package,) = Archive().download([source])
        with published(tarball) as file:
            _pipe(source, package, f"cat > {shlex.quote(str(file))}")
    return tarball


def _pipe(source: Entry, package: Path, sink: str) -> None:
    """Feed the tarball inside the source package to a shell command."""
    shell = f'dpkg-deb --fsys-tarfile "$1" | tar --extract --to-stdout "$2" | {sink}'
    inner = f"./usr/src/{source.package}.tar.xz"
    run(["bash", "-o", "pipefail", "-c", shell, "bash", str(package), inner])
