"""Modules are signed once, with the key of the build, and indexed for the kernel they are for."""

from pathlib import Path

import pytest
from lib import modules
from lib.host import run
from lib.modules import MAGIC, ModuleError, Signer, finish, is_signed, keep_build_tree, release

RELEASE = "6.12.0-ainos"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree/lib/modules" / RELEASE
    (folder / "kernel/net").mkdir(parents=True)
    (folder / "build").symlink_to("/somewhere")
    for name in ("kernel/a.ko", "kernel/net/b.ko"):
        (folder / name).write_bytes(b"module")
    return tmp_path / "tree"


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """An object tree whose signing program appends its arguments and the kernel's mark."""
    program = tmp_path / "objects/scripts/sign-file"
    program.parent.mkdir(parents=True)
    program.write_text(
        '#!/bin/sh\nprintf "%s %s %s~Module signature appended~\\n" "$1" "$2" "$3" >>"$4"\n'
    )
    program.chmod(0o755)
    return tmp_path / "objects"


def index(command: list[str], **_: object) -> str:
    """What depmod leaves, for a test that has no ELF files."""
    if "depmod" in command:
        folder = Path(command[command.index("-b") + 1]) / "lib/modules" / command[-1]
        for name in ("alias", "dep", "symbols", "alias.bin", "dep.bin"):
            (folder / f"modules.{name}").write_text("")
        return ""
    return run(command)


def test_every_module_is_signed_and_the_links_to_the_build_go(
    tree: Path, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules, "run", index)
    signer = Signer(objects, Path("/key"), Path("/certificate"))
    assert finish(tree, signer) == 2
    folder = tree / "lib/modules" / RELEASE
    for name in ("kernel/a.ko", "kernel/net/b.ko"):
        assert (folder / name).read_bytes() == b"modulesha512 /key /certificate" + MAGIC
    assert not (folder / "build").is_symlink()
    assert (folder / "modules.alias.bin").exists()
    assert not (folder / "modules.alias").exists()


def test_a_module_is_not_signed_twice(tree: Path, objects: Path) -> None:
    module = tree / "lib/modules" / RELEASE / "kernel/a.ko"
    signer = Signer(objects, Path("/key"), Path("/certificate"))
    assert not is_signed(module)
    signer.sign(module)
    assert is_signed(module)
    with pytest.raises(ModuleError, match="signed already"):
        signer.sign(module)


def test_modules_of_two_kernels_in_one_tree_are_refused(tree: Path) -> None:
    assert release(tree) == RELEASE
    (tree / "lib/modules/5.0").mkdir()
    with pytest.raises(ModuleError, match="modules for"):
        release(tree)


def test_what_external_modules_need_is_kept(objects: Path, tmp_path: Path) -> None:
    for name in (*modules.BUILD_TREE, *modules.BUILD_TREE_ARCHITECTURE):
        path = objects / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    (objects / "vmlinux").write_text("large")
    keep_build_tree(objects, tmp_path / "build")
    assert (tmp_path / "build/scripts/sign-file").exists()
    assert (tmp_path / "build/Module.symvers").read_text() == "Module.symvers"
    assert not (tmp_path / "build/vmlinux").exists()
