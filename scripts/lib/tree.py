"""A tree of files made from Debian packages by extraction, without running anything of theirs.

No maintainer script runs and no package database is written. What a tree holds is then checked
rather than believed: every library that an ELF file asks for must be in the tree.

    unpack(Archive().download(entries), tree)
    prune(tree, (SCRIPTS / "prune/root.txt").read_text(), "prune/root.txt")
    missing = unresolved(tree)
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lib.anatomy import Anatomy, c_library
from lib.architecture import ARCHITECTURES
from lib.host import HostError, run

# Where the loader looks for a library: in Debian's directory, then in the plain one.
SEARCHED = (*(architecture.libraries for architecture in ARCHITECTURES.values()), "usr/lib")
MERGED = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
# What gives a person or a program a shell, by file name.
SHELLS = frozenset({"sh", "ash", "bash", "dash", "zsh", "ksh", "mksh", "csh", "tcsh", "fish"}) | {
    *("busybox", "toybox", "rbash", "hush")
}
UNPACK_DEADLINE_S = 300


class TreeError(HostError):
    """The tree does not hold what it should, or holds what it must not."""


def unpack(packages: Iterable[Path], tree: Path) -> None:
    """Extract packages into a tree whose /bin, /sbin, /lib and /lib64 are links into /usr."""
    tree.mkdir(parents=True, exist_ok=True)
    for name, target in MERGED.items():
        (tree / target).mkdir(parents=True, exist_ok=True)
        if not (tree / name).is_symlink():
            (tree / name).symlink_to(target)
    for package in packages:
        extract = ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner"]
        extract += ["--directory", str(tree)]
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
        ) as source:
            done = subprocess.run(
                extract, stdin=source.stdout, timeout=UNPACK_DEADLINE_S, check=False
            )
        if done.returncode or source.returncode:
            raise TreeError(f"{package} could not be unpacked into {tree}")


def prune(tree: Path, text: str, name: str) -> None:
    """Remove what the patterns match, except what a later ``!pattern`` keeps.

    Raises TreeError with file and line for every pattern that matches nothing.
    """
    doomed: set[Path] = set()
    idle: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        pattern = line.split("#", 1)[0].strip()
        if not pattern:
            continue
        named = tree / pattern.removeprefix("!")
        # A link that leads nowhere in the tree is not found by glob.
        found = {named} if os.path.lexists(named) else set(tree.glob(pattern.removeprefix("!")))
        if not found:
            idle.append(f"{name}:{number}: {pattern} matches nothing")
        doomed = doomed - found if pattern.startswith("!") else doomed | found
    if idle:
        raise TreeError("\n".join(idle))
    for path in sorted(doomed):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def normalise(tree: Path) -> None:
    """Give directories 0755, programs 0755 and other files 0644; nothing is set-user-ID."""
    for path in [tree, *tree.rglob("*")]:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            path.chmod(0o755)
        elif stat.S_ISREG(mode):
            path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)
        elif not stat.S_ISLNK(mode):
            raise TreeError(f"{path} is neither a file, a directory nor a link")


def drop_sources(tree: Path, folders: Sequence[str]) -> None:
    """Put each module's bytecode where its source was; Python imports it from there (PEP 3147).

    Sources and bytecode of libraries say the same, and bytecode is what gets loaded.
    """
    for folder in folders:
        for bytecode in sorted((tree / folder).rglob("__pycache__/*.pyc")):
            name = f"{bytecode.name.split('.', 1)[0]}.py"
            source = bytecode.parent.with_name(name)
            if os.path.lexists(source):
                source.unlink()
                bytecode.rename(source.with_suffix(".pyc"))
        for cache in sorted((tree / folder).rglob("__pycache__")):
            if not any(cache.iterdir()):
                cache.rmdir()


def _elf_files(tree: Path) -> Iterator[Path]:
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def unresolved(tree: Path) -> list[str]:
    """Return one finding for each library that an ELF file needs and would not find.

    The loader looks in the file's own RUNPATH (``$ORIGIN`` is its directory; an absolute path is
    one of the machine), then in the system's library directories. A file without needs, or one that
    names its library absolutely, is fine.
    """
    files = list(_elf_files(tree))
    if not files:
        return []
    printed = run(["readelf", "--wide", "--dynamic", *map(str, files)], env={"LC_ALL": "C"})
    findings = []
    # With one argument readelf prints no "File:" heading.
    blocks = re.split(r"^File: ", printed, flags=re.MULTILINE)[1:] or [f"{files[0]}\n{printed}"]
    for block in blocks:
        path = Path(block.split("\n", 1)[0])
        runpath = re.search(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", block)
        folders = [tree / folder for folder in SEARCHED]
        for entry in runpath[1].split(":") if runpath else ():
            home = f"/{path.parent.relative_to(tree)}"
            inside = re.sub(r"\$ORIGIN|\$\{ORIGIN\}", home, entry)
            folders.insert(0, tree / inside.lstrip("/"))
        findings += [
            f"/{path.relative_to(tree)} needs {name}, which is not in the tree"
            for name in re.findall(r"\(NEEDED\).*\[(.*)\]", block)
            if not any((folder / name).exists() for folder in folders)
        ]
    return findings


def shells(tree: Path) -> list[str]:
    """Return the programs of the tree that are shells, by name, links included."""
    return [
        f"/{path.relative_to(tree)}"
        for path in sorted(tree.rglob("*"))
        if path.name in SHELLS and (path.is_symlink() or path.is_file())
    ]


def program(tree: Path, path: str) -> list[str]:
    """Return the command that runs a program of the tree with the tree's own C library."""
    architecture, folder = c_library(tree)
    loader = tree / folder / Path(architecture.loader).name
    return [str(loader), "--library-path", str(tree / folder), str(tree / path)]


def compile_python(
    tree: Path, folders: Sequence[str], python: Path | None = None, prefix: str = "/"
) -> None:
    """Compile Python sources with the tree's own interpreter, or with that of another tree.

    Unchecked-hash bytecode (PEP 552) holds no time stamp and is loaded without a look at the
    source, which stays for the lines of a traceback. One process, in sorted order: what is interned
    already decides bits of the output. ``python`` is the other tree, or a program that runs here,
    with the same version of Python; ``prefix`` is the place of ``tree`` on the machine.
    """
    home = python or tree
    environment = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if home.is_dir():
        command = program(home, Anatomy.of(home).python)
        environment["PYTHONHOME"] = str(home / "usr")
    else:
        command = [str(home)]
    command += ["-S", "-m", "compileall", "-q", "-f"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", str(tree), "-p", prefix]
    run([*command, *(str(tree / folder) for folder in folders)], env=environment)
