"""What an update transfers, beside xdelta3 and casync, on the same pairs of images.

    package   libssl of Debian's next release in the place of ours
    kernel    a UKI with one of Debian's kernels, and with the patch release after it
    month     Python and 14 libraries of Debian's next release in the place of ours: no month has
              that many at once, and a year changes each of them by so much

An image is root, hash tree and UKI. Each root is packed as the build packs it, with a hash tree of
its own salt, as every version has. xdelta3 is given the old bytes as a whole, with its strongest
settings; casync has the old image's chunks, and transfers its index and the chunks that are
missing, packed as its store holds them. Nothing of these images is ever started.

    goals = measure(BUILD / "bench/update/delta")
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ainit.ota.blocks import Index
from ainit.ota.pe import Image as PeImage
from ainit.ota.verity import BLOCK
from lib import bench, drive, erofs, tools, verity
from lib.bench import Goal
from lib.debian import Archive
from lib.host import run
from lib.layout import EROFS_UUID
from lib.progress import step
from lib.release_delta import difference
from lib.tree import unpack

_KERNEL = re.compile(r"linux-image-(6\.12\.(\d+)\+deb13-amd64)")
PACKAGE = ("libssl3t64",)
MONTH = (
    *("libblkid1", "libcap2", "libexpat1", "libffi8", "libgcc-s1", "libjson-c5", "libpcre2-8-0"),
    *("libselinux1", "libssl3t64", "libstdc++6", "libudev1", "libuuid1", "libzstd1", "zlib1g"),
    *("python3.13-minimal", "libpython3.13-stdlib"),
)
NEXT = "testing"
# A library up to its major version, an extension module of Python, Python itself.
_NAMED = re.compile(r"(.+\.so\.\d+)(\.[0-9.]+)?|(.+\.cpython-.+\.so|python3\.13)")


@dataclass(frozen=True, slots=True)
class Image:
    """What a slot holds."""

    root: Path
    verity: Path
    uki: Path

    @property
    def transferred(self) -> bytes:
        """What ours is about: the hash tree is made on the machine."""
        return self.root.read_bytes() + self.uki.read_bytes()

    @property
    def whole(self) -> bytes:
        """What the peers are given."""
        return self.root.read_bytes() + self.verity.read_bytes() + self.uki.read_bytes()


@dataclass(frozen=True, slots=True)
class Transfers:
    """Bytes that each way transfers for one pair."""

    delta: int
    blocks: int
    xdelta: int
    casync: int


def measure(work: Path) -> list[Goal]:
    """Make the pairs and measure them. Raises HostError."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with step("pairs of images") as progress:
        made = pairs(work)
        progress.note(", ".join(made))
    found = {}
    for name, (old, new) in made.items():
        with step(f"{name}: transfers"):
            found[name] = transfers(old, new, work / name)
    return goals(found)


def goals(found: dict[str, Transfers]) -> list[Goal]:
    """The worst pair of each goal; every pair's bytes are its peers."""
    ratios = {
        "update.delta_vs_xdelta": (1.5, {n: t.delta / t.xdelta for n, t in found.items()}),
        "update.delta_vs_casync": (1.0, {n: t.blocks / t.casync for n, t in found.items()}),
    }
    peers = {
        f"{name} {way}, bytes": float(getattr(each, way))
        for name, each in found.items()
        for way in Transfers.__slots__
    }
    return [
        bench.goal(name, [max(each.values())] if each else [], "ratio", bound, peers)
        for name, (bound, each) in ratios.items()
    ]


def pairs(work: Path) -> dict[str, tuple[Image, Image]]:
    """The pairs, by name."""
    image = drive.IMAGE
    tree = work / "tree"
    run([*tools.command("fsck.erofs"), f"--extract={tree}", str(image / "root.erofs")])
    old = _image(tree, image / "uki.efi", work / "old")
    following = Archive(suite=NEXT)
    following.update()
    found = {}
    for name, packages in (("package", PACKAGE), ("month", MONTH)):
        changed = work / f"tree-{name}"
        shutil.copytree(tree, changed, symlinks=True)
        _replace(changed, _unpacked(following, packages, work / f"packages-{name}"))
        found[name] = (old, _image(changed, image / "uki.efi", work / f"new-{name}"))
    current = Archive()
    current.update()
    kernels = [_kernel(current, release, work) for release in _kernels(current)[-2:]]
    first, second = (
        Image(old.root, old.verity, _with_kernel(image / "uki.efi", kernel)) for kernel in kernels
    )
    return {**found, "kernel": (first, second)}


def transfers(old: Image, new: Image, work: Path) -> Transfers:
    """How many bytes each way transfers."""
    work.mkdir()
    before, after = work / "old", work / "new"
    before.write_bytes(old.whole)
    after.write_bytes(new.whole)
    return Transfers(
        len(difference(old.transferred, new.transferred)),
        _by_blocks(old, new),
        _by_xdelta(before, after, work / "xdelta"),
        _by_casync(before, after, work),
    )


def _by_blocks(old: Image, new: Image) -> int:
    """The index, and every block that the old image lacks; of a UKI the whole, packed, if less."""
    have = Index.of(old.root.read_bytes(), old.uki.read_bytes())
    wanted = Index.of(new.root.read_bytes(), new.uki.read_bytes())
    known = {*have.root, *have.uki}
    root, uki = (
        sum(each not in known for each in names) * BLOCK for names in (wanted.root, wanted.uki)
    )
    packed = len(difference(b"", new.uki.read_bytes()))
    return len(wanted.to_bytes()) + root + min(uki, packed)


def _by_xdelta(old: Path, new: Path, out: Path) -> int:
    window = str(1 << 29)
    command = [*tools.command("xdelta3", "update"), "-e", "-9", "-S", "lzma", "-B", window]
    run([*command, "-W", str(1 << 24), "-s", str(old), str(new), str(out)], timeout=600)
    return out.stat().st_size


def _by_casync(old: Path, new: Path, work: Path) -> int:
    store, index = work / "store", work / "new.caibx"
    command = [*tools.command("casync", "update"), "make", f"--store={store}"]
    run([*command, str(work / "old.caibx"), str(old)], timeout=600)
    before = _size(store)
    run([*command, str(index), str(new)], timeout=600)
    return _size(store) - before + index.stat().st_size


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _image(tree: Path, uki: Path, out: Path) -> Image:
    out.mkdir()
    root, hashes = out / "root.erofs", out / "root.verity"
    erofs.build(tree, root, EROFS_UUID)
    verity.build(root, hashes, out.name)
    return Image(root, hashes, uki)


def _unpacked(archive: Archive, packages: Sequence[str], out: Path) -> Path:
    unpack(archive.download(archive.resolve(packages)), out)
    return out


def _replace(tree: Path, packages: Path) -> None:
    """Put what some packages have compiled in the place of what a tree has, under its names."""
    ours = dict(_libraries(tree))
    for key, path in _libraries(packages):
        if key in ours:
            shutil.copyfile(path, ours[key])


def _libraries(tree: Path) -> Iterable[tuple[str, Path]]:
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder) / name
            match = _NAMED.fullmatch(name)
            if match and path.is_file() and not path.is_symlink():
                yield match[1] or match[3], path


def _kernels(archive: Archive) -> list[str]:
    """The releases of Debian's kernels that the archive has, the newest last."""
    names = archive.names("linux-image-6.12")
    found = [match for name in names if (match := _KERNEL.fullmatch(name))]
    return [match[1] for match in sorted(found, key=lambda match: int(match[2]))]


def _kernel(archive: Archive, release: str, work: Path) -> Path:
    folder = _unpacked(archive, [f"linux-image-{release}"], work / release)
    return folder / f"boot/vmlinuz-{release}"


def _with_kernel(uki: Path, kernel: Path) -> Path:
    """A file like a UKI with this kernel: what ours has beside its own, and behind it that."""
    sections = PeImage(uki.read_bytes()).sections
    rest = b"".join(content for name, content in sections.items() if name != ".linux")
    out = kernel.parent / "uki.efi"
    out.write_bytes(rest + bytes(-len(rest) % BLOCK) + kernel.read_bytes())
    return out
