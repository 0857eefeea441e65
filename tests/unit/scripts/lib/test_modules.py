"""Modules are signed once, with the key of the build, and indexed for the kernel they are for."""

from pathlib import Path

import pytest
from lib import modules
from lib.host import run
from lib.modules import (
    MAGIC,
    ModuleError,
    Signer,
    finish,
    is_signed,
    keep_build_tree,
    release,
    split_signature,
    verify_signature,
)

from tests.support import signing

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


def test_modules_that_another_key_signed_are_all_named_and_left_as_they_are(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules, "run", index)
    objects = tmp_path / "signing"
    signing.sign_file(objects)
    own, other = (
        Signer(objects, *signing.key_pair(tmp_path, name)) for name in ("build", "another")
    )
    folder = tree / "lib/modules" / RELEASE
    foreign = [folder / "kernel/a.ko", folder / "kernel/net/b.ko"]
    for module in foreign:
        other.sign(module)
    (folder / "c.ko").write_bytes(b"module")
    with pytest.raises(ModuleError) as caught:
        finish(tree, own)
    for module in foreign:
        assert f"{module} is not signed by the key of {own.certificate}" in str(caught.value)
    assert "CONFIG_MODULE_SIG_ALL=" in str(caught.value)
    assert not is_signed(folder / "c.ko")
    for module in foreign:
        module.write_bytes(b"module")
    own.sign(foreign[0])
    signed = foreign[0].read_bytes()
    assert finish(tree, own) == 3
    assert foreign[0].read_bytes() == signed
    for module in (*foreign, folder / "c.ko"):
        verify_signature(module, own.certificate)


def test_a_signature_is_taken_apart_as_the_kernel_does(tmp_path: Path) -> None:
    signer = Signer(tmp_path, *signing.key_pair(tmp_path, "build"))
    signing.sign_file(tmp_path)
    module = tmp_path / "a.ko"
    module.write_bytes(b"content")
    signer.sign(module)
    content, signature = split_signature(module.read_bytes())
    assert content == b"content"
    assert module.read_bytes() == content + signature + module.read_bytes()[-40:]
    verify_signature(module, signer.certificate)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no signature"),
        (MAGIC, "has no signature"),
        (b"content of a module", "has no signature"),
        (b"x" + bytes(8) + (2).to_bytes(4, "big") + MAGIC, "longer than the module"),
        (b"x" + bytes(8) + (1).to_bytes(4, "big") + MAGIC, "is not signed by the key of"),
    ],
)
def test_what_is_no_signature_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    module = tmp_path / "a.ko"
    module.write_bytes(content)
    with pytest.raises(ModuleError, match=message):
        verify_signature(module, signing.key_pair(tmp_path, "build")[1])


@pytest.mark.parametrize("place", [0, -45])
def test_a_module_that_was_changed_is_not_the_one_that_was_signed(
    tmp_path: Path, place: int
) -> None:
    signer = Signer(tmp_path, *signing.key_pair(tmp_path, "build"))
    signing.sign_file(tmp_path)
    module = tmp_path / "a.ko"
    module.write_bytes(b"content")
    signer.sign(module)
    altered = bytearray(module.read_bytes())
    altered[place] ^= 1
    module.write_bytes(altered)
    with pytest.raises(ModuleError, match="is not signed by the key of"):
        verify_signature(module, signer.certificate)


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
