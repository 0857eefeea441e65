"""Which fragments make which kernel, what names a result, and how its compiler is called."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from lib.architecture import AARCH64, X86_64, Architecture
from lib.debian_lock import Entry
from lib.host import REPOSITORY
from lib.kconfig import Option, merge_fragments
from lib.kernel import Inputs, KernelError, KernelSet, fragments, make_command

KERNELS = [(X86_64, KernelSet.BASE), (X86_64, KernelSet.SERVER), (AARCH64, KernelSet.BASE)]


def inputs(tmp_path: Path) -> Inputs:
    certificate = tmp_path / "certificate.pem"
    certificate.write_text("certificate")
    source = Entry("kernel", "linux-source", "1", "all", "pool/l.deb", 1, "0" * 64)
    options = {"CONFIG_NET": Option("CONFIG_NET", "y", "a:1")}
    return Inputs(X86_64, KernelSet.BASE, source, (), options, certificate, ("gcc 12",))


@pytest.mark.parametrize(("architecture", "kind"), KERNELS)
def test_the_fragments_of_a_kernel_agree_and_say_their_purpose(
    architecture: Architecture, kind: KernelSet
) -> None:
    paths = fragments(architecture, kind)
    options, findings = merge_fragments(
        (path.name, path.read_text(), path.parent.name == "server") for path in paths
    )
    assert findings == []
    assert options["CONFIG_BLK_DEV_INITRD"].value == "n"
    assert options["CONFIG_MODULE_SIG_FORCE"].value == "y"
    for path in paths:
        assert path.read_text().startswith("# "), f"{path.name} does not say what it is for"
    assert {path.parent.name for path in paths} == {
        "kernel-config",
        architecture.name,
        *(["server"] if kind is KernelSet.SERVER else []),
    }


def test_every_fragment_is_in_a_kernel() -> None:
    used = {path for kernel in KERNELS for path in fragments(*kernel)}
    assert used == set((REPOSITORY / "kernel-config").rglob("*.config"))


def test_comments_of_fragments_name_fragments_that_exist() -> None:
    folder = REPOSITORY / "kernel-config"
    named = {
        (path.relative_to(folder), name)
        for path in folder.rglob("*.config")
        for line in path.read_text().splitlines()
        if line.startswith("#")
        for name in re.findall(r"[\w/-]+/[\w-]+\.config", line)
    }
    assert named
    assert [each for each in sorted(named) if not (folder / each[1]).exists()] == []


def test_a_server_kernel_for_arm_is_refused_by_name() -> None:
    with pytest.raises(KernelError, match="no server kernel for aarch64"):
        Inputs.collect(AARCH64, KernelSet.SERVER)


def test_whatever_decides_the_bytes_decides_the_name(tmp_path: Path) -> None:
    one = inputs(tmp_path)
    microcode = replace(one.source, group="microcode", sha256="1" * 64)
    others = [
        replace(one, architecture=AARCH64),
        replace(one, kind=KernelSet.SERVER),
        replace(one, source=replace(one.source, sha256="2" * 64)),
        replace(one, microcode=(microcode,)),
        replace(one, options={}),
        replace(one, tools=("gcc 13",)),
    ]
    digests = {one.digest, *(other.digest for other in others)}
    assert len(digests) == 1 + len(others)
    moved = {"CONFIG_NET": Option("CONFIG_NET", "y", "b:7")}
    assert replace(one, options=moved).digest == one.digest
    one.certificate.write_text("another")
    assert one.digest not in digests


def test_a_foreign_architecture_is_cross_compiled_in_objects_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    own = inputs(tmp_path)
    foreign = replace(own, architecture=AARCH64)
    assert not [word for word in make_command(own) if word.startswith("CROSS_COMPILE")]
    assert {"ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"} <= set(make_command(foreign))
    assert own.objects == replace(own, kind=KernelSet.SERVER).objects != foreign.objects
