"""Kernel modules once they are compiled: signed, indexed, checked; what others compile against.

kbuild could sign while it installs, but only with a key that lies in its own tree. Here the key
stays in ``build/keys``, and every module is looked at after signing: a kernel that enforces
signatures (CONFIG_MODULE_SIG_FORCE) would refuse it only on the machine. A module that somebody
else signed it would refuse, too, so such a one ends the build.

    count = finish(tree, Signer(objects, key, certificate))
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.host import HostError, run
from lib.tree import unpack

# What the kernel looks for at the end of a module (kernel/module_signature.c).
MAGIC = b"~Module signature appended~\n"
HASH = "sha512"
# What an external module is compiled against, of the objects; the sources it finds by their path.
BUILD_TREE = ("Makefile", ".config", "Module.symvers", "System.map", "include", "scripts")
BUILD_TREE_ARCHITECTURE = ("arch/x86/include/generated", "tools/objtool")
FIRMWARE = "usr/lib/firmware"


class ModuleError(HostError):
    """A module is not what the kernel would take."""


@dataclass(frozen=True, slots=True)
class Signer:
    """The kernel's own signing program, with the key and the certificate that the kernel holds."""

    objects: Path
    key: Path
    certificate: Path

    def sign(self, module: Path) -> None:
        """Append a signature to a module that has none."""
        if is_signed(module):
            raise ModuleError(f"{module} is signed already")
        program = self.objects / "scripts/sign-file"
        run([str(program), HASH, str(self.key), str(self.certificate), str(module)])


def is_signed(module: Path) -> bool:
    """Whether a module file ends in a signature, whoever made it."""
    with module.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - len(MAGIC)))
        return file.read() == MAGIC


def split_signature(module: bytes) -> tuple[bytes, bytes]:
    """Return a module's content and its PKCS#7 signature (kernel/module_signature.c)."""
    end = len(module) - len(MAGIC) - 12
    if end < 0 or not module.endswith(MAGIC):
        raise ModuleError("the module has no signature")
    start = end - int.from_bytes(module[end + 8 : end + 12])
    if start < 0:
        raise ModuleError("the module's signature is longer than the module")
    return module[:start], module[start:end]


def verify_signature(module: Path, certificate: Path) -> None:
    """Raise ModuleError unless the certificate's key signed this module.

    OpenSSL looks at it, a second opinion on the program that signs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-noverify"]
        command += ["-in", str(folder / "signature"), "-content", str(folder / "content")]
        command += ["-nointern", "-certfile", str(certificate), "-out", os.devnull]
        try:
            content, signature = split_signature(module.read_bytes())
            (folder / "content").write_bytes(content)
            (folder / "signature").write_bytes(signature)
            run(command)
        except HostError as error:
            raise ModuleError(
                f"{module} is not signed by the key of {certificate}: {error}"
            ) from error


def release(tree: Path) -> str:
    """Return the kernel release that the modules of a tree are for. Raises ModuleError."""
    releases = [path.name for path in (tree / "lib/modules").iterdir()]
    if len(releases) != 1:
        raise ModuleError(f"{tree} has modules for {', '.join(releases) or 'no kernel'}")
    return releases[0]


def finish(tree: Path, signer: Signer) -> int:
    """Sign every module below ``tree``, write depmod's indexes, return how many there are.

    One that is signed already has to be signed by this key: the kernel holds no other certificate,
    and a signature that we did not make is not taken off either. The links to the source and object
    trees go: a machine has neither. Raises ModuleError.
    """
    folder = tree / "lib/modules" / release(tree)
    for name in ("build", "source"):
        (folder / name).unlink(missing_ok=True)
    found = sorted(folder.rglob("*.ko"))
    findings = []
    for module in filter(is_signed, found):
        try:
            verify_signature(module, signer.certificate)
        except ModuleError as error:
            findings.append(str(error))
    if findings:
        findings.append("modules come here unsigned (CONFIG_MODULE_SIG_ALL=)")
        raise ModuleError("\n".join(findings))
    for module in found:
        if not is_signed(module):
            signer.sign(module)
    if unsigned := [str(path) for path in found if not is_signed(path)]:
        raise ModuleError("not signed: " + ", ".join(unsigned))
    index(tree, folder.name, signer.objects / "System.map")
    return len(found)


def index(tree: Path, version: str, symbols: Path) -> None:
    """Write the indexes of the modules in ``tree/lib/modules/<version>``.

    Raises HostError for a symbol that neither the kernel nor another module has.
    """
    command = ["depmod", "-b", str(tree), "-e", "-F", str(symbols), version]
    # It names missing symbols on standard error, and succeeds.
    if findings := run(["sh", "-c", '"$@" 2>&1', "sh", *command]).strip():
        raise ModuleError(findings)
    # kmod reads the binary indexes; the text ones say the same.
    for name in ("alias", "dep", "symbols"):
        (tree / "lib/modules" / version / f"modules.{name}").unlink()


def keep_build_tree(objects: Path, target: Path) -> None:
    """Copy of the object tree what external modules need: make, headers, symbols, tools."""
    for name in (*BUILD_TREE, *BUILD_TREE_ARCHITECTURE):
        source = objects / name
        destination = target / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, destination, symlinks=True)
        else:
            shutil.copy2(source, destination, follow_symlinks=False)


def lay(kernel: Path, tree: Path) -> None:
    """Lay a kernel's modules over a root tree, and leave of its firmware only what they ask for.

    ``kernel`` is the directory that `lib.kernel.build` returned.
    """
    version = release(kernel / "modules")
    target = tree / "usr/lib/modules" / version
    shutil.copytree(kernel / "modules/lib/modules" / version, target, symlinks=True)
    prune_firmware(tree)


def prune_firmware(tree: Path) -> None:
    """Leave of a tree's firmware only the files that its modules ask for.

    Firmware packages hold files for every device there is; a module names those it may load
    (modinfo(8), field ``firmware``).
    """
    wanted = firmware_of(sorted((tree / "usr/lib/modules").rglob("*.ko")))
    folder = tree / FIRMWARE
    kept = {path.resolve() for name in wanted if (path := folder / name).exists()}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_symlink() or path.is_file():
            if str(path.relative_to(folder)) not in wanted and path not in kept:
                path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()


def firmware_of(found: Iterable[Path]) -> frozenset[str]:
    """Return the names of the firmware files that modules may load."""
    return frozenset(run(["modinfo", "-F", "firmware", *map(str, found)]).split())


def lay_firmware(packages: Iterable[Path], target: Path) -> None:
    """Put the firmware files of Debian packages where kbuild finds what it compiles in."""
    with tempfile.TemporaryDirectory() as temporary:
        unpack(packages, Path(temporary))
        shutil.copytree(Path(temporary) / FIRMWARE, target, dirs_exist_ok=True)
