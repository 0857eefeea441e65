"""The assembly as a whole: built twice it is the same, and what comes out is what was promised.

A small tree and a kernel of nothing but a header stand in for the real ones; every tool is the real
one. The comparison leaves signatures out (sbsign writes the time) and takes in everything else.
"""

import json
import os
import shutil
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pefile
import pytest
from lib import assembly, disk, erofs, sbom, verity
from lib.architecture import X86_64
from lib.assembly import Inputs
from lib.host import HostError
from lib.layout import DISK_UUID, MIB, PARTITIONS, SECTOR, STATE_UUID, fixed_uuid, slot_uuids
from lib.release import epoch

from ainit.linux import fsverity

PARTS = ("root.erofs", "root.verity", "uki.unsigned.efi", "sbom.cdx.json", "manifest.json")


def _tree(folder: Path) -> Path:
    """A root tree that has every place that the assembly reads."""
    files = {
        "usr/lib/os-release": "ID=ainos\nVERSION_ID=0\n",
        "usr/lib/ainos/machine.toml": "[machine]\n",
        "usr/lib/ainos/agents/one.erofs": "bundle",
        "usr/lib/ainos/text": "line\n" * 20_000,
        sbom.ROOT_DOCUMENT: sbom.document([]),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "bin").symlink_to("usr/bin")
    return folder


LOADER = X86_64.default_loader


def _kernel(path: Path) -> Path:
    """A bzImage without code: a PE file of no sections, and a version in its boot header."""
    image = bytearray(8192)
    image[:2] = b"MZ"
    image[0x3C:0x40] = (0x1000).to_bytes(4, "little")
    coff = struct.pack("<HHIIIHH", 0x8664, 0, 0, 0, 0, 240, 0x22)
    image[0x1000:0x101A] = b"PE\0\0" + coff + struct.pack("<H", 0x20B)
    image[0x202:0x206] = b"HdrS"
    image[0x20E:0x210] = (0x300).to_bytes(2, "little")
    image[0x500:0x510] = b"6.12.0 (builder)"
    path.write_bytes(image)
    return path


def _inputs(folder: Path) -> Inputs:
    model = folder / "models/one"
    model.mkdir(parents=True)
    (model / "model.onnx").write_bytes(b"weights")
    (model / "record.json").write_text('{"name": "one", "kind": "model", "file": "model.onnx"}')
    (model / "model.sig").write_text("{}")
    return Inputs(_tree(folder / "tree"), _kernel(folder / "bzImage"), (model,))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The tree, and two directories into which the same inputs, laid out twice, were assembled."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second-with-a-longer-name")]
    for folder in folders:
        assembly.assemble(_inputs(folder), folder / "out", sign=False)
    return folders[0] / "tree", folders[0] / "out", folders[1] / "out"


def _manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return found


@pytest.mark.parametrize("part", PARTS)
def test_the_same_inputs_give_the_same_bytes(built: tuple[Path, Path, Path], part: str) -> None:
    _, first, second = built
    assert (first / part).read_bytes() == (second / part).read_bytes()


def test_the_hash_tree_verifies_the_root_and_nothing_else(
    built: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, out, _ = built
    root_hash = _manifest(out)["root"]["hash"]
    check = ["veritysetup", "verify", "root", str(out / "root.verity"), root_hash]
    altered = tmp_path / "root"
    shutil.copyfile(out / "root.erofs", altered)
    check[2] = str(altered)
    subprocess.run(check, check=True)
    content = bytearray(altered.read_bytes())
    content[2000] ^= 1
    altered.write_bytes(content)
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0


def test_the_uki_holds_this_kernel_this_command_line_and_no_initrd(
    built: tuple[Path, Path, Path],
) -> None:
    tree, out, _ = built
    found = {
        section.Name.rstrip(b"\0").decode(): section.get_data(length=section.Misc_VirtualSize)
        for section in pefile.PE(str(out / "uki.unsigned.efi"), fast_load=True).sections
    }
    manifest = _manifest(out)
    assert found[".cmdline"].rstrip(b"\0").decode() == manifest["cmdline"]
    assert found[".linux"] == (tree.parent / "bzImage").read_bytes()
    assert found[".uname"].rstrip(b"\0") == b"6.12.0"
    assert manifest["root"]["hash"] in manifest["cmdline"]
    assert ".initrd" not in found


def test_the_manifest_names_what_the_machine_will_measure(built: tuple[Path, Path, Path]) -> None:
    tree, out, _ = built
    manifest = _manifest(out)
    bundle = tree / "usr/lib/ainos/agents/one.erofs"
    digest = fsverity.text(fsverity.digest_file(str(bundle)))
    assert manifest["agents"] == [{"name": "one", "digest": digest}]
    [model] = manifest["models"]
    assert (model["name"], model["kind"], model["file"]) == ("one", "model", "model.onnx")
    for name, described in manifest["files"].items():
        assert (out / name).stat().st_size == described["size"]


def test_a_build_whose_inputs_have_not_changed_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, out = _inputs(tmp_path), tmp_path / "out"
    first = assembly.assemble(inputs, out, sign=False)
    capsys.readouterr()
    assert assembly.assemble(inputs, out, sign=False) == first
    assert "nothing changed" in capsys.readouterr().err
    (inputs.models[0] / "model.onnx").write_bytes(b"others")
    assert assembly.assemble(inputs, out, sign=False)["models"] != first["models"]
    (inputs.root / "usr/lib/ainos/text").chmod(0o755)
    assert assembly.assemble(inputs, out, sign=False)["root"] != first["root"]


@pytest.fixture(scope="module")
def parts(built: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> disk.Parts:
    _, out, _ = built
    folder = tmp_path_factory.mktemp("parts")
    uki = out / "uki.unsigned.efi"
    disk.build_esp({LOADER: b"loader", disk.entry_name("1"): uki}, folder / "esp")
    disk.build_state({"models/incoming/one/model.onnx": uki}, folder / "state")
    root_hash = _manifest(out)["root"]["hash"]
    return disk.Parts(
        folder / "esp", out / "root.erofs", out / "root.verity", folder / "state", root_hash
    )


def test_esp_and_state_are_the_same_when_built_again(parts: disk.Parts, tmp_path: Path) -> None:
    uki = parts.root.with_name("uki.unsigned.efi")
    disk.build_esp({disk.entry_name("1"): uki, LOADER: b"loader"}, tmp_path / "esp")
    disk.build_state({"models/incoming/one/model.onnx": uki}, tmp_path / "state")
    for name, part in (("esp", parts.esp), ("state", parts.state)):
        done = subprocess.run(["cmp", str(part), str(tmp_path / name)], check=False)
        assert done.returncode == 0, name


def test_the_esp_carries_fixed_times_only(parts: disk.Parts) -> None:
    image = parts.esp.read_bytes()[: 8 * MIB]
    reserved, tables, sectors = struct.unpack_from("<HB19xI", image, 14)[:3]
    at = (reserved + tables * sectors) * SECTOR
    label, folder = (struct.unpack_from("<H", image, at + entry * 32 + 24)[0] for entry in (0, 1))

    def packed(day: datetime) -> int:
        return (day.year - 1980) << 9 | day.month << 5 | day.day

    assert folder == packed(datetime.fromtimestamp(epoch(), UTC))
    assert label == packed(datetime(2015, 3, 14, tzinfo=UTC))  # mkfs.vfat --invariant


def test_the_state_partition_can_hold_verified_files(parts: disk.Parts) -> None:
    show = ["dumpe2fs", "-h", str(parts.state)]
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    header = subprocess.run(
        show, check=True, capture_output=True, text=True, env=environment
    ).stdout
    fields = dict(line.split(":", 1) for line in header.splitlines() if ":" in line)
    assert "verity" in fields["Filesystem features"].split()
    assert fields["Block size"].strip() == "4096"
    assert fields["Filesystem UUID"].strip() == str(STATE_UUID)
    created = fields["Filesystem created"].strip()
    assert datetime.strptime(created, "%c").replace(tzinfo=UTC).timestamp() == epoch()
    listed = subprocess.run(
        ["debugfs", "-R", "stat /models/incoming/one/model.onnx", str(parts.state)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "User:     0   Group:     0" in listed


def test_the_disk_has_the_layout_and_the_slot_its_names(parts: disk.Parts, tmp_path: Path) -> None:
    image = tmp_path / "ainos.img"
    disk.assemble(parts, PARTITIONS, image)
    printed = subprocess.run(
        ["sfdisk", "--json", str(image)], check=True, capture_output=True, text=True
    ).stdout
    table = json.loads(printed)["partitiontable"]
    assert table["id"].lower() == str(DISK_UUID)
    found = {entry["name"]: entry for entry in table["partitions"]}
    assert list(found) == list(PARTITIONS)
    root, hashes = slot_uuids(parts.root_hash)
    identities = {"root_a": root, "verity_a": hashes}
    for name, partition in PARTITIONS.items():
        entry = found[name]
        assert entry["size"] * SECTOR == partition.size, name
        assert entry["start"] * SECTOR % MIB == 0, name
        assert entry["type"].lower() == str(partition.type), name
        assert entry["uuid"].lower() == str(identities.get(name, partition.uuid)), name
    with image.open("rb") as file:
        for name, part in (("root_a", parts.root), ("verity_a", parts.verity)):
            file.seek(found[name]["start"] * SECTOR)
            assert file.read(part.stat().st_size) == part.read_bytes(), name
    assert image.stat().st_blocks * 512 < image.stat().st_size / 4  # sparse


def test_a_root_that_does_not_fit_its_slot_is_refused(tmp_path: Path) -> None:
    root, hashes = tmp_path / "root", tmp_path / "hashes"
    root.touch()
    hashes.touch()
    with root.open("r+b") as file:
        file.truncate(PARTITIONS["root_a"].size)
    disk.check_fits(root, hashes, PARTITIONS)
    with hashes.open("r+b") as file:
        file.truncate(PARTITIONS["verity_a"].size + 1)
    with pytest.raises(HostError, match="the partition has 16"):
        disk.check_fits(root, hashes, PARTITIONS)


def test_a_bundle_depends_on_names_modes_and_contents_only(tmp_path: Path) -> None:
    images = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("x", "y") if name == "a" else ("y", "x"):
            (folder / file).write_text(file * 5000)
        erofs.build(folder, tmp_path / f"{name}.erofs", fixed_uuid("agent test"))
        images.append((tmp_path / f"{name}.erofs").read_bytes())
    assert images[0] == images[1]


def test_the_salt_on_the_command_line_is_that_of_the_hash_tree(
    built: tuple[Path, Path, Path],
) -> None:
    _, out, _ = built
    dump = ["veritysetup", "dump", str(out / "root.verity")]
    printed = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    fields = {
        key: value.strip() for key, _, value in (x.partition(":") for x in printed.split("\n"))
    }
    manifest = _manifest(out)
    assert fields["Salt"] == manifest["root"]["salt"] == verity.salt_of(manifest["version"])
    assert int(fields["Data blocks"].split()[0]) == manifest["root"]["data_blocks"]
