"""Measure every image: what a slot holds, options that got lost, the time to ready, failed tests.

An image that cannot be built or booted costs its own figures and no others. ``scripts/bench-image``
says how images are chosen; what the goals mean is in docs/benchmarks.md.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from xml.etree import ElementTree

from ainit.errors import AinosError
from lib import assembly, bench
from lib.architecture import X86_64, Architecture
from lib.bench import Goal, goal
from lib.host import BUILD, REPOSITORY, HostError, sha256_file
from lib.kconfig import find_dropped, merge_fragments
from lib.kernel import Inputs, KernelSet
from lib.kernel_source import OUTPUT
from lib.variant import VARIANTS, Target

RESULT = bench.FOLDER / "bench-image.json"
SLOT_MAX_MIB = 60
BASE = "base"
BUILDROOT = "buildroot"
# Every image that is made of Debian parts, by the name that it has in goals and in ONLY.
TARGETS = {
    target.suffix.removeprefix("-") or BASE: target
    for variant in VARIANTS.values()
    for target in (Target(variant, architecture) for architecture in variant.architectures)
}
IMAGES = (*TARGETS, BUILDROOT)

Given = ParamSpec("Given")
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Suite:
    """How a whole run of the QEMU suite on one image ended."""

    tests: int
    failed: int


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured, by the image's name; what could not be measured is absent.

    ``dropped`` is by kernel, None for one whose options could not be counted.
    """

    slots: Mapping[str, float]
    dropped: Mapping[str, int | None]
    boots: Mapping[str, Sequence[dict[str, Any]]]
    suite: Suite | None


def choose(only: str, buildroot: Path | None) -> tuple[str, ...]:
    """The images to measure: those named, separated by commas, or all. Raises HostError."""
    chosen = only.replace(",", " ").split()
    if unknown := [name for name in chosen if name not in IMAGES]:
        raise HostError(f"there is no image {', '.join(unknown)}; there are: {', '.join(IMAGES)}")
    if BUILDROOT in chosen and not buildroot:
        raise HostError("Buildroot's image is not built here: BUILDROOT_IMAGE=DIR says where it is")
    there = IMAGES if buildroot else tuple(TARGETS)
    return tuple(name for name in there if name in (chosen or there))


def attempt(
    what: str, action: Callable[Given, Done], *given: Given.args, **named: Given.kwargs
) -> Done | None:
    """What the action returns; None, with the reason on standard error, when it fails."""
    try:
        return action(*given, **named)
    except (HostError, AinosError, OSError) as error:
        print(f"bench-image: {what}: {error}", file=sys.stderr)
        return None


def build(target: Target) -> Path:
    """Build the image unless it is there, and return where it lies. Raises HostError."""
    command = ["scripts/image", *target.options]
    if subprocess.run(command, cwd=REPOSITORY, check=False).returncode:
        raise HostError(f"`{' '.join(command)}` failed, see above")
    return target.image


def kernels(names: Sequence[str]) -> dict[str, tuple[Architecture, KernelSet]]:
    """The kernels in these images, by their set, or by their processor if it is another one."""
    found = {}
    for target in (TARGETS[name] for name in names if name in TARGETS):
        kind, architecture = KernelSet(target.variant.kernel_set), target.architecture
        name = kind.value if architecture is X86_64 else architecture.name
        found[name] = (architecture, kind)
    return found


def dropped_from_kernel(architecture: Architecture, kind: KernelSet) -> int:
    """How many requested options the kernel in the cache lacks. Raises HostError."""
    inputs = Inputs.collect(architecture, kind)
    config = OUTPUT / inputs.digest / "config"
    if not config.exists():
        raise HostError("this kernel was not built")
    return len(find_dropped(inputs.options, config.read_text()))


def buildroot_configurations(image: Path) -> dict[str, tuple[Path, Path]]:
    """What was asked for and what came of it: Buildroot's own options, and its kernel's.

    They lie in the output directory that the image is part of; there are none for an image that was
    copied out of it.
    """
    output = image.absolute().parents[1]
    own = output / "ainos_defconfig"
    if not own.exists():
        return {}
    asked = output / "build/ainos-requested.config"
    made = sorted(output.glob("build/linux-[!h]*/.config"))  # not linux-headers
    return {
        BUILDROOT: (own, output / ".config"),
        f"{BUILDROOT}-kernel": (asked, made[-1] if made else output / "build/linux/.config"),
    }


def count_dropped(asked: Path, made: Path) -> int:
    """How many options are not as asked. Raises HostError for a file that holds anything else."""
    options, findings = merge_fragments([(str(asked), asked.read_text(), True)])
    if findings:
        raise HostError("\n".join(findings))
    return len(find_dropped(options, made.read_text()))


def suite_result(image: Path) -> Path:
    """Where ``scripts/test`` leaves the result of the QEMU suite on this image, and no other."""
    return BUILD / "test" / f"qemu-{sha256_file(image / assembly.MANIFEST)[:16]}.xml"


def read_suite(path: Path) -> Suite:
    """Read what pytest wrote (JUnit's format). A test that was skipped has not passed."""
    if not path.exists():
        raise HostError("no whole run on this image: `AINOS_IMAGE=DIR scripts/test qemu` is one")
    try:
        (suite,) = ElementTree.parse(path).getroot().iter("testsuite")
        tests = int(suite.attrib["tests"])
        failed = sum(int(suite.attrib[word]) for word in ("failures", "errors", "skipped"))
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise HostError(f"{path} is not pytest's: {error}") from error
    if not tests:
        raise HostError(f"{path} holds no test")
    return Suite(tests, failed)


def measure(names: Sequence[str], buildroot: Path | None) -> Found:
    """Build the images, look at them, boot them."""
    images = {name: attempt(name, build, TARGETS[name]) for name in names if name in TARGETS}
    dropped = {
        name: attempt(f"kernel {name}", dropped_from_kernel, *chosen)
        for name, chosen in kernels(names).items()
    }
    suite = None
    if buildroot and BUILDROOT in names:
        images[BUILDROOT] = buildroot
        for name, files in buildroot_configurations(buildroot).items():
            dropped[name] = attempt(name, count_dropped, *files)
        if result := attempt(BUILDROOT, suite_result, buildroot):
            suite = attempt("suite on Buildroot's image", read_suite, result)
    there = {name: image for name, image in images.items() if image}
    slots = {name: attempt(name, assembly.slot_mib, image) for name, image in there.items()}
    boots = {name: attempt(name, bench.boots, image, name) for name, image in there.items()}
    return Found(
        {name: slot for name, slot in slots.items() if slot is not None},
        dropped,
        {name: states for name, states in boots.items() if states},
        suite,
    )


def judge(found: Found) -> list[Goal]:
    """Every goal, whatever was measured."""
    peers = dict(found.slots)
    base = peers.pop(BASE, None)
    counted = {name: count for name, count in found.dropped.items() if count is not None}
    # A kernel that was not built may be the very one that lost an option.
    total = [sum(counted.values())] if counted and len(counted) == len(found.dropped) else []
    suite = found.suite
    return [
        goal("image.slot_mib", [] if base is None else [base], "MiB", SLOT_MAX_MIB, peers),
        goal("image.kconfig_dropped", total, "options", 0, counted),
        *(bench.ready_goal(f"image.ready_s.{name}", found.boots.get(name, [])) for name in IMAGES),
        goal(
            "image.buildroot_suite_failed",
            [suite.failed] if suite else [],
            "tests",
            0,
            {"tests": suite.tests} if suite else {},
        ),
    ]


def main(only: str, buildroot: Path | None) -> int:
    """Measure, print the table, write the file; 0 only when every goal is met."""
    return bench.publish(RESULT, judge(measure(choose(only, buildroot), buildroot)))
