"""The variants of the product, and what one image is built for: a variant, an architecture, a use.

target = Target.of("nvidia", "x86_64", release=True)
target.image        # build/image-nvidia-release
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lib import architecture
from lib.architecture import AARCH64, X86_64, Architecture
from lib.host import BUILD, HostError
from lib.layout import SLOT, Layout, Slot, partitions


@dataclass(frozen=True, slots=True)
class Variant:
    """What one kind of image is made of. Every name is that of a list or a set elsewhere."""

    name: str
    # The kernel's drivers: ``base`` or ``server`` (lib.kernel.KernelSet).
    kernel_set: str
    # Lists in scripts/packages whose packages make up the root, and lists scripts/<name>.txt.
    groups: tuple[str, ...]
    wheels: tuple[str, ...] = ("wheels",)
    # The parts of Debian's archive that the groups may come from.
    components: frozenset[str] = frozenset({"main"})
    architectures: tuple[Architecture, ...] = (X86_64,)
    slot: Slot = SLOT

    @property
    def has_modules(self) -> bool:
        """Whether the kernel's modules are part of the root; ``base`` has all drivers built in."""
        return self.kernel_set != "base"


BASE = Variant("base", "base", ("root",), architectures=(X86_64, AARCH64))
SERVER = Variant(
    "server",
    "server",
    ("root", "kmod", "firmware"),
    components=frozenset({"main", "non-free-firmware"}),
)
NVIDIA = Variant(
    "nvidia",
    "server",
    ("root", "kmod", "firmware", "nvidia"),
    components=frozenset({"main", "contrib", "non-free", "non-free-firmware"}),
    slot=Slot(root_mib=2048, verity_mib=32),
)
VARIANTS = {each.name: each for each in (BASE, SERVER, NVIDIA)}
# Packages beside a variant's own: what a development image has, and what boots an image.
DEVELOPMENT_GROUP = "shell"
BOOT_GROUP = "boot"
# What NVIDIA's driver needs; a variant with it gets the driver itself.
NVIDIA_GROUP = "nvidia"


def architectures_of(group: str) -> tuple[Architecture, ...]:
    """Return for which architectures a list is resolved: those of the images that it is part of.

    What is in no image is for the build host, which is an x86-64 one.
    """
    found = {
        each.name: each
        for variant in VARIANTS.values()
        if group in (*variant.groups, *variant.wheels, DEVELOPMENT_GROUP, BOOT_GROUP)
        for each in variant.architectures
    }
    return tuple(found.values()) or (X86_64,)


@dataclass(frozen=True, slots=True)
class Target:
    """What an image is built for."""

    variant: Variant = BASE
    architecture: Architecture = X86_64
    release: bool = False
    # What it brings beside the slot, by the names of `lib.extensions`.
    extensions: tuple[str, ...] = ()
    # A directory with agents besides those of the overlay.
    agents: Path | None = None

    @classmethod
    def of(
        cls,
        variant: str = "",
        name: str = "",
        *,
        release: bool = False,
        extensions: Sequence[str] = (),
        agents: Path | None = None,
    ) -> Target:
        """Return the target with these names; an empty one is the default. Raises HostError."""
        kind = variant or BASE.name
        if kind not in VARIANTS:
            raise HostError(f"there is no variant {kind!r}; there are: {', '.join(VARIANTS)}")
        chosen = architecture.of(name or X86_64.name)
        places = tuple(sorted(set(extensions)))
        found = cls(VARIANTS[kind], chosen, release, places, agents and agents.absolute())
        if found.architecture not in found.variant.architectures:
            raise HostError(f"there is no {kind} image for {found.architecture.name}")
        if found.extensions and found.variant is not NVIDIA:
            raise HostError("extensions are for the variant nvidia: no other has CUDA's driver")
        return found

    @classmethod
    def of_options(cls, options: argparse.Namespace) -> Target:
        """Return the target that `add_options` read. Raises HostError."""
        release = getattr(options, "release", False)
        return cls.of(
            options.variant,
            options.arch,
            release=release,
            extensions=options.extension,
            agents=options.agents,
        )

    @property
    def suffix(self) -> str:
        """What the names of its directories end in; empty for the default."""
        parts = [self.variant.name] if self.variant is not BASE else []
        parts += [self.architecture.name] if self.architecture is not X86_64 else []
        parts += self.extensions
        parts += ["agents"] if self.agents else []
        parts += ["release"] if self.release else []
        return "".join(f"-{part}" for part in parts)

    @property
    def image(self) -> Path:
        """Where the finished image lies."""
        return BUILD / f"image{self.suffix}"

    @property
    def root(self) -> Path:
        """Where the finished root tree lies; extensions are no part of it."""
        return BUILD / f"root{replace(self, extensions=()).suffix}"

    @property
    def layout(self) -> Layout:
        """The partitions of its disk."""
        return partitions(self.architecture, self.variant.slot)

    @property
    def options(self) -> list[str]:
        """The options that make another script choose the same target."""
        found = ["--variant", self.variant.name, "--arch", self.architecture.name]
        found += [f"--extension={name}" for name in self.extensions]
        found += [f"--agents={self.agents}"] if self.agents else []
        return [*found, "--release"] if self.release else found


# What everything makes unless it is told otherwise.
DEFAULT = Target()


def architecture_of(image: Path) -> Architecture:
    """Return what the finished image in a directory is for, as its manifest says."""
    path = image / "manifest.json"
    if not path.exists():
        raise HostError(f"there is no image in {image}; `make image` builds one")
    return architecture.of(json.loads(path.read_text())["architecture"])


def add_options(parser: argparse.ArgumentParser, *, release: bool = True) -> None:
    """Let a script take the options that choose a target."""
    parser.add_argument("--variant", default="", metavar="V", help=", ".join(VARIANTS))
    names = ", ".join(architecture.ARCHITECTURES)
    parser.add_argument("--arch", default="", metavar="A", help=names)
    parser.add_argument("--extension", action="append", default=[], metavar="NAME")
    parser.add_argument("--agents", type=Path, metavar="DIR", help="with your own agents")
    if release:
        parser.add_argument("--release", action="store_true", help="no shell, no development units")
