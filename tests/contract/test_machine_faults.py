"""Each fault is made as it says, on a disk with the product's layout: checked with other tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lib import disk, models, state_partition, tamper
from lib import tools as pinned
from lib.host import CommandError, HostError, run
from lib.layout import FIRST_OFFSET, MIB, PARTITIONS
from lib.state_partition import debugfs, partition_offset
from lib.tamper import TAMPERS

from secureboot.lib import tools
from secureboot.lib.keys import KeySet, generate
from tests.support import pe

UKI = "::/EFI/Linux/ainos_9+3.efi"
SIZE = FIRST_OFFSET + sum(partition.size for partition in PARTITIONS.values()) + MIB
MODEL = bytes(range(256)) * 2048
OBJECT = "ab" * 32


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeySet:
    keys = KeySet(tmp_path_factory.mktemp("keys"))
    generate(keys, "test")
    return keys


@pytest.fixture(scope="module")
def master(keys: KeySet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with the product's layout and the smallest contents."""
    folder = tmp_path_factory.mktemp("master")
    unsigned, uki = folder / "unsigned.efi", folder / "uki.efi"
    unsigned.write_bytes(pe.build({".linux": b"kernel" * 1000, ".cmdline": b"quiet"}))
    tools.sign(unsigned, uki, keys)
    delivered: dict[str, bytes | Path] = {
        UKI[3:]: uki,
        disk.approval_name("9"): b"{}",
        "loader/loader.conf": b"timeout 0\n",
    }
    disk.build_esp(delivered, folder / "esp")
    files = {}
    for name, content in (("magika", MODEL), ("silero-vad", b"other"), ("placement", b"policy")):
        file = "placement.onnx" if name == "placement" else "model.onnx"
        for part, data in ((file, content), ("record.json", b"{}"), ("model.sig", b"signature")):
            source = folder / f"{name}-{part}"
            source.write_bytes(data)
            files[f"models/incoming/{name}/{part}"] = source
    note = folder / "note"
    note.write_text(json.dumps({"object": OBJECT}))
    files["models/names/admitted.json"] = note
    files[f"models/objects/{OBJECT}/model.onnx"] = folder / "magika-model.onnx"
    disk.build_state(files, folder / "state")
    image = folder / "disk.img"
    with image.open("wb") as whole:
        whole.truncate(SIZE)
    for part in ("esp", "state"):
        command = ["dd", f"if={folder / part}", f"of={image}", "bs=1M", "conv=notrunc,sparse"]
        run([*command, f"seek={partition_offset(part) // MIB}"])
    return image


@pytest.fixture
def image(master: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "disk.img"
    run(["cp", "--sparse=always", str(master), str(copy)])
    return copy


def read(image: Path, path: str, folder: Path) -> bytes:
    """A file of the state partition, read by debugfs."""
    debugfs(image, f"dump {path} {folder / 'dump'}")
    return (folder / "dump").read_bytes()


def mtools(image: Path, tool: str, *arguments: str) -> str:
    return run([tool, "-i", f"{image}@@{partition_offset('esp')}", *arguments])


def edit(name: str) -> Callable[[Path], None]:
    function = TAMPERS[name].edit
    assert function is not None
    return function


def differences(before: bytes, after: bytes) -> list[int]:
    assert len(before) == len(after)
    return [
        offset for offset, pair in enumerate(zip(before, after, strict=True)) if len({*pair}) == 2
    ]


def test_one_byte_of_a_delivered_model(image: Path, tmp_path: Path) -> None:
    edit("model")(image)
    path = "/models/incoming/magika/model.onnx"
    assert differences(MODEL, read(image, path, tmp_path)) == [len(MODEL) // 2]
    run([*pinned.command("e2fsck"), "-fn",
         f"{image}?offset={partition_offset('state')}"])  # fmt: skip


def test_one_byte_of_an_admitted_model(image: Path, tmp_path: Path) -> None:
    path = state_partition.model_file(image, "admitted", "model.onnx")
    assert path == f"/models/objects/{OBJECT}/model.onnx"
    state_partition.change_byte(image, path)
    assert differences(MODEL, read(image, path, tmp_path)) == [len(MODEL) // 2]


def test_another_model_without_a_signature(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "MODELS", tmp_path)
    (tmp_path / "silero-vad").mkdir()
    (tmp_path / "silero-vad/model.onnx").write_bytes(b"another model")
    edit("unsigned-model")(image)
    assert read(image, "/models/incoming/magika/model.onnx", tmp_path) == b"another model"
    listed = debugfs(image, "ls -p /models/incoming/magika")
    assert "record.json" in listed
    assert "model.sig" not in listed


def test_one_byte_of_the_root(image: Path) -> None:
    with image.open("rb") as file:
        file.seek(partition_offset("root_a"))
        before = file.read(4096)
        edit("root")(image)
        file.seek(partition_offset("root_a"))
        assert len(differences(before, file.read(4096))) == 1


def test_one_byte_of_the_uki(image: Path, keys: KeySet, tmp_path: Path) -> None:
    before, after = tmp_path / "before.efi", tmp_path / "after.efi"
    mtools(image, "mcopy", UKI, str(before))
    edit("uki")(image)
    mtools(image, "mcopy", UKI, str(after))
    assert len(differences(before.read_bytes(), after.read_bytes())) == 1
    verify = ["sbverify", "--cert", str(keys.certificate("db"))]
    run([*verify, str(before)])
    with pytest.raises(CommandError, match=r"(?i)verification failed"):
        run([*verify, str(after)])


@pytest.mark.parametrize(
    ("name", "line"),
    [("cmdline-loader", "options ainos.foreign=1"), ("initrd", "initrd /foreign.img")],
)
def test_a_boot_menu_entry_of_somebody_else(image: Path, name: str, line: str) -> None:
    edit(name)(image)
    entry = mtools(image, "mtype", "::/loader/entries/foreign.conf").splitlines()
    assert entry == ["title foreign", "linux /EFI/Linux/ainos_9+3.efi", line]
    settings = mtools(image, "mtype", "::/loader/loader.conf").splitlines()
    assert "default foreign.conf" in settings
    assert "timeout 0" in settings
    assert ("foreign.img" in mtools(image, "mdir", "-b", "::/")) == (name == "initrd")


def test_a_policy_that_is_gone(image: Path) -> None:
    edit("policy-missing")(image)
    with pytest.raises(CommandError, match="not found"):
        debugfs(image, "stat /models/incoming/placement")


@pytest.mark.parametrize("mutant", ["nan", "overlap"])
def test_a_useless_policy_that_is_properly_signed(
    image: Path, keys: KeySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    monkeypatch.setattr(tamper, "KEYS", keys.directory)
    edit(f"policy-{mutant}")(image)
    signed = tmp_path / "placement"
    signed.mkdir()
    for file in ("placement.onnx", "record.json"):
        data = read(image, f"/models/incoming/placement/{file}", tmp_path)
        (signed / file).write_bytes(data)
    (tmp_path / "model.sig").write_bytes(
        read(image, "/models/incoming/placement/model.sig", tmp_path)
    )
    command = [str(tools.VIRT_FW_VARS.parent / "python"), "-m", "model_signing", "verify", "key"]
    command += ["--public_key", str(keys.publisher_public)]
    run([*command, "--signature", str(tmp_path / "model.sig"), str(signed)])
    assert json.loads((signed / "record.json").read_text())["name"] == "placement"
    assert f"test: {mutant}".encode() in (signed / "placement.onnx").read_bytes()


def test_a_request_that_fails_is_an_error(image: Path) -> None:
    with pytest.raises(CommandError, match="File not found"):
        debugfs(image, "rm /models/none")
    with pytest.raises(HostError):
        state_partition.model_file(image, "none", "model.onnx")
