"""NVIDIA's modules: patched where needed, compiled for one kernel, signed, then checked."""

import fcntl
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from lib import debian_lock, host, kernel_source, nvidia_modules
from lib import kernel as linux
from lib.debian_lock import Entry
from lib.host import HostError
from lib.modules import Signer, is_signed
from lib.nvidia import Driver, of_directory
from lib.nvidia_modules import ModuleBuildError, Patch, patches, verify, verify_tree

from tests.support import signing
from tests.support.driver import VERSION, archive

RELEASE = "6.12.117-ainos"
HEADERS = Entry("kernel", "linux-source", "6.12.117-1", "all", "pool/l.deb", 1, "0" * 64)
PATCH = """Why it is needed.

Unless: nvidia/a.c has NEW_NAME

--- a/nvidia/a.c
+++ b/nvidia/a.c
@@ -1,3 +1,3 @@
 first
-old_name
+NEW_NAME
 last
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The build's key and somebody's, each with its certificate."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: signing.key_pair(folder, name) for name in ("build", "another")}


@dataclass
class Kernel:
    """A kernel as `lib.kernel.build` leaves it, and what compiled modules against it."""

    folder: Path
    key: Path
    certificate: Path
    source: str = ""  # the package that is unpacked
    commands: list[Sequence[str]] = field(default_factory=list)
    version: str = VERSION  # what the modules state
    locked: bool = True
    compiled: str = ""  # the file that patches are for

    def unpack(self, entry: Entry) -> None:
        """What lays out the kernel's source."""
        self._look()
        self.source = entry.sha256

    def make(self, command: Sequence[str], *_: object, **__: object) -> None:
        """What compiles."""
        self._look()
        assert self.source, "there is no source to compile against"
        self.commands.append(command)
        folder = Path(command[command.index("-C") + 1])
        if (file := folder / "nvidia/a.c").exists():
            self.compiled = file.read_text()
        for name in nvidia_modules.MODULES:
            (folder / f"{name}.ko").write_bytes(signing.module(RELEASE, self.version))

    def _look(self) -> None:
        with (host.BUILD / "kernel.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self.locked = False


@pytest.fixture
def kernel(
    tmp_path: Path, keys: dict[str, tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> Kernel:
    folder = tmp_path / "kernel"
    for name in ("build/.config", "build/Module.symvers", "version"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(RELEASE + "\n")
    signing.sign_file(folder / "build")
    made = Kernel(folder, *keys["build"])
    for owner, name, value in (
        (host, "BUILD", tmp_path / "build"),
        (nvidia_modules, "OUTPUT", tmp_path / "build/cache/nvidia"),
        (nvidia_modules, "follow", made.make),
        (kernel_source, "unpack", made.unpack),
        (linux, "MODULE_KEY", made.key),
        (linux, "module_certificate", lambda: made.certificate),
        (linux, "fixed_environment", dict),
        (debian_lock, "read", lambda group: [HEADERS]),
    ):
        monkeypatch.setattr(owner, name, value)
    return made


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    """A driver whose source has all changes already."""
    found = of_directory(archive(tmp_path / "driver"))
    for patch in patches():
        file = found.source / patch.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(patch.word)
    return found


def test_modules_are_built_on_a_host_that_never_built_any(kernel: Kernel, driver: Driver) -> None:
    folder = nvidia_modules.build(driver, kernel.folder)
    assert sorted(path.name for path in folder.iterdir()) == ["nvidia-uvm.ko", "nvidia.ko"]
    for path in folder.iterdir():
        verify(path, VERSION, RELEASE, kernel.certificate)
    assert not list((folder.parent.parent).glob("work.*"))


def test_the_source_of_the_kernel_is_unpacked_and_nobody_replaces_it_meanwhile(
    kernel: Kernel, driver: Driver
) -> None:
    nvidia_modules.build(driver, kernel.folder)
    assert kernel.source == HEADERS.sha256
    assert kernel.locked
    with (host.BUILD / "kernel.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_what_is_there_is_not_compiled_again(kernel: Kernel, driver: Driver) -> None:
    assert nvidia_modules.build(driver, kernel.folder) == nvidia_modules.build(
        driver, kernel.folder
    )
    assert len(kernel.commands) == 1


def test_a_kernel_of_another_source_than_the_locks_is_refused(
    kernel: Kernel, driver: Driver
) -> None:
    (kernel.folder / "version").write_text("6.12.116-ainos\n")
    with pytest.raises(ModuleBuildError, match=r"release 6\.12\.116-ainos, .* 6\.12\.117-1"):
        nvidia_modules.build(driver, kernel.folder)


def test_modules_of_another_release_than_the_driver_are_not_kept(
    kernel: Kernel, driver: Driver
) -> None:
    kernel.version = "570.133.07"
    with pytest.raises(ModuleBuildError, match=r"is of release 570\.133\.07, not 550\.163\.01"):
        nvidia_modules.build(driver, kernel.folder)
    assert not list((host.BUILD / "cache/nvidia/modules").iterdir())


def test_whatever_decides_the_modules_names_them(kernel: Kernel, driver: Driver) -> None:
    def digest(headers: Entry = HEADERS, **parts: Any) -> str:
        given = {"driver": driver, "needed": [], "certificate": kernel.certificate, **parts}
        return nvidia_modules.digest(kernel=kernel.folder, headers=headers, **given)

    patch = kernel.folder / "a.patch"
    patch.write_text(PATCH)
    digests = [
        digest(),
        digest(replace(HEADERS, sha256="1" * 64)),
        digest(driver=replace(driver, version="1")),
        digest(needed=[Patch(patch, "nvidia/a.c", "NEW_NAME")]),
        digest(certificate=kernel.key),
    ]
    (kernel.folder / "build/Module.symvers").write_text("another")
    digests.append(digest())
    assert len(set(digests)) == len(digests)


def test_a_patch_says_which_sources_have_its_change(tmp_path: Path) -> None:
    (tmp_path / "a.patch").write_text(PATCH)
    assert patches(tmp_path) == [Patch(tmp_path / "a.patch", "nvidia/a.c", "NEW_NAME")]
    (tmp_path / "b.patch").write_text(PATCH.replace("Unless", "Until"))
    with pytest.raises(ModuleBuildError, match=r"b\.patch: no line `Unless: "):
        patches(tmp_path)


def test_the_patches_of_this_tree_can_be_read() -> None:
    assert [patch.path.name for patch in patches()] == ["resize-bar.patch"]


@pytest.mark.parametrize(
    ("text", "needed", "after"),
    [
        ("first\nold_name\nlast\n", True, "first\nNEW_NAME\nlast\n"),
        ("first\nNEW_NAME\nlast\n", False, "first\nNEW_NAME\nlast\n"),
    ],
)
def test_a_patch_is_for_sources_without_its_change_and_leaves_the_users_alone(
    kernel: Kernel,
    driver: Driver,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    needed: bool,
    after: str,
) -> None:
    (kernel.folder / "a.patch").write_text(PATCH)
    found = patches(kernel.folder)
    monkeypatch.setattr(nvidia_modules, "patches", lambda: found)
    file = driver.source / "nvidia/a.c"
    file.write_text(text)
    assert found[0].is_needed(driver.source) is needed
    nvidia_modules.build(driver, kernel.folder)
    assert kernel.compiled == after
    assert file.read_text() == text


@pytest.mark.parametrize(
    "text", ["first\nnewer_name\nlast\n", "zeroth\n\nFIRST\nold_name\nlast\n", None]
)
def test_a_patch_that_is_needed_and_does_not_fit_ends_the_build(
    tmp_path: Path, text: str | None
) -> None:
    (tmp_path / "a.patch").write_text(PATCH)
    source = tmp_path / "source"
    (source / "nvidia").mkdir(parents=True)
    if text is not None:
        (source / "nvidia/a.c").write_text(text)
    (patch,) = patches(tmp_path)
    assert patch.is_needed(source)
    with pytest.raises(ModuleBuildError, match=r"^a\.patch does not fit this driver;.*NEW_NAME"):
        patch.apply(source)


def _signed(path: Path, kernel: Kernel, pair: tuple[Path, Path], *stated: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(signing.module(*stated or (RELEASE, VERSION)))
    Signer(kernel.folder / "build", *pair).sign(path)
    return path


@pytest.mark.parametrize(
    ("stated", "key", "message"),
    [
        ((RELEASE, VERSION), "build", ""),
        ((RELEASE, VERSION), "another", "is not signed by the key of"),
        (("6.12.0", VERSION), "build", r"is for 6\.12\.0 SMP mod_unload, not for 6\.12\.117"),
        ((f"{RELEASE}2", VERSION), "build", "not for 6.12.117-ainos"),
        ((RELEASE, "570.1"), "build", r"is of release 570\.1, not 550\.163\.01"),
    ],
)
def test_a_module_is_checked_as_the_kernel_will(
    kernel: Kernel,
    keys: dict[str, tuple[Path, Path]],
    tmp_path: Path,
    stated: tuple[str, str],
    key: str,
    message: str,
) -> None:
    module = _signed(tmp_path / "nvidia.ko", kernel, keys[key], *stated)
    if not message:
        verify(module, VERSION, RELEASE, kernel.certificate)
        return
    with pytest.raises(HostError, match=message):
        verify(module, VERSION, RELEASE, kernel.certificate)


@pytest.fixture
def tree(kernel: Kernel, keys: dict[str, tuple[Path, Path]], tmp_path: Path) -> Path:
    """A tree into which another builder put the modules; its kernel's objects are ``build``."""
    release = kernel.folder / "build/include/config/kernel.release"
    release.parent.mkdir(parents=True)
    release.write_text(RELEASE + "\n")
    folder = tmp_path / "tree/usr/lib/modules" / RELEASE
    for name in nvidia_modules.MODULES:
        _signed(folder / f"updates/{name}.ko", kernel, keys["build"])
    return tmp_path / "tree"


def test_modules_in_another_builders_tree_are_found_and_checked(kernel: Kernel, tree: Path) -> None:
    found = verify_tree(tree, VERSION, kernel.folder / "build", kernel.certificate)
    assert [path.name for path in found] == ["nvidia.ko", "nvidia-uvm.ko"]
    with pytest.raises(ModuleBuildError, match="not 570"):
        verify_tree(tree, "570.133.07", kernel.folder / "build", kernel.certificate)


def test_a_module_that_is_missing_or_there_twice_is_an_error(kernel: Kernel, tree: Path) -> None:
    folder = tree / "usr/lib/modules" / RELEASE
    module = folder / "updates/nvidia-uvm.ko"
    (folder / "extra").mkdir()
    (folder / "extra/nvidia-uvm.ko").write_bytes(module.read_bytes())
    with pytest.raises(ModuleBuildError, match=r"one nvidia-uvm\.ko; it holds .*extra.*updates"):
        verify_tree(tree, VERSION, kernel.folder / "build", kernel.certificate)
    module.unlink()
    (folder / "extra/nvidia-uvm.ko").unlink()
    with pytest.raises(ModuleBuildError, match=r"one nvidia-uvm\.ko; it holds none"):
        verify_tree(tree, VERSION, kernel.folder / "build", kernel.certificate)


def test_built_modules_go_where_modprobe_looks(kernel: Kernel, driver: Driver) -> None:
    folder = nvidia_modules.build(driver, kernel.folder)
    root = kernel.folder.parent / "root"
    nvidia_modules.install(folder, root, kernel.folder)
    for name in nvidia_modules.MODULES:
        assert is_signed(root / f"usr/lib/modules/{RELEASE}/extra/{name}.ko")
