"""Buildroot's configuration of a board: merged from fragments, and held against what came of it.

requested = requested("qemu"); configure(make, requested, out)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lib.host import REPOSITORY, HostError, run
from lib.kconfig import Option, find_dropped, merge_fragments, render

EXTERNAL = REPOSITORY / "buildroot-external"
BOARDS = EXTERNAL / "boards"
FRAGMENTS = EXTERNAL / "fragments"
CONFIGURE_DEADLINE_S = 600


class BuildrootError(HostError):
    """The fragments contradict each other, or Buildroot did not keep what they ask for."""


def boards() -> dict[str, tuple[str, ...]]:
    """Return the fragments of each board. Raises BuildrootError with file and line."""
    found: dict[str, tuple[str, ...]] = {}
    for number, raw in enumerate(BOARDS.read_text().splitlines(), 1):
        words = raw.split("#", 1)[0].split()
        if not words:
            continue
        board, *names = words
        missing = [name for name in names if not (FRAGMENTS / f"{name}.config").exists()]
        if board in found or not names or missing:
            raise BuildrootError(f"{BOARDS}:{number}: twice, or without fragment: {raw}")
        found[board] = ("common", *names)
    return found


def requested(
    board: str, settings: Path | None = None, *, release: bool = False
) -> dict[str, Option]:
    """Return the options of a board, with those of a file of the user's. Raises BuildrootError."""
    known = boards()
    if board not in known:
        raise BuildrootError(f"there is no board {board!r}; there are: {', '.join(known)}")
    names = [*known[board], "release" if release else "development"]
    paths = [FRAGMENTS / f"{name}.config" for name in names]
    paths += [settings] if settings else []
    options, findings = merge_fragments((str(path), path.read_text(), True) for path in paths)
    if findings:
        raise BuildrootError("Buildroot's configuration:\n" + "\n".join(findings))
    return options


def make_command(tree: Path, out: Path, *, tarball: str, release: bool = False) -> list[str]:
    """Return the command line of Buildroot in ``tree``; ``tarball`` is the kernel's source."""
    command = ["make", "-C", str(tree.absolute()), f"O={out}", f"BR2_EXTERNAL={EXTERNAL}"]
    command.append(f"AINOS_LINUX_TARBALL={tarball}")
    return [*command, "AINOS_RELEASE=--release"] if release else command


def configure(make: Sequence[str], options: Mapping[str, Option], out: Path) -> None:
    """Write ``out/.config`` and check every requested option in it. Raises BuildrootError."""
    out.mkdir(parents=True, exist_ok=True)
    merged = out / "ainos_defconfig"
    merged.write_text(render(options))
    run([*make, f"BR2_DEFCONFIG={merged}", "defconfig"], timeout=CONFIGURE_DEADLINE_S)
    if dropped := find_dropped(options, (out / ".config").read_text()):
        raise BuildrootError(
            "Buildroot did not keep what was asked for (a dependency is missing):\n"
            + "\n".join(dropped)
        )


def path(inherited: str) -> str:
    """Return a PATH without pyenv's wrappers of Python, which Buildroot's checks stumble over."""
    return ":".join(folder for folder in inherited.split(":") if "/.pyenv/" not in folder)
