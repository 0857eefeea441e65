"""A packed extension, made and read by the real tools: what is in it, and the same bytes twice."""

import json
import zipfile
from pathlib import Path

import pytest
from lib import extensions, tools
from lib.host import run

METADATA = "Metadata-Version: 2.4\nName: thing\nVersion: 1.2\nLicense-Expression: MIT\n"
FILES = {
    "thing/__init__.py": "code = 1\n",
    "thing/lib/libthing.so.1": "library",
    "thing/include/thing.h": "header",
    "thing/lib/libthing.a": "static",
    "thing/types.pyi": "types",
    "nvidia/cuda_nvcc/bin/nvcc": "compiler",
    "thing-1.2.dist-info/METADATA": METADATA,
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same wheel, packed twice in different places."""
    images = []
    for name in ("first", "second-with-a-longer-name"):
        folder = tmp_path_factory.mktemp(name)
        wheel = folder / "thing-1.2-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            for member, content in FILES.items():
                archive.writestr(zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0)), content)
        image = folder / "out/tiny.erofs"
        extensions.pack([wheel], image)
        assert [path.name for path in image.parent.iterdir()] == ["tiny.erofs"]
        images.append(image)
    return images


@pytest.fixture(scope="module")
def tree(packed: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in it."""
    folder = tmp_path_factory.mktemp("tree") / "root"
    run([*tools.command("fsck.erofs"), f"--extract={folder}", str(packed[0])])
    return folder


def test_an_extension_has_what_runs_and_the_list_of_it(tree: Path) -> None:
    found = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    runs = {"thing/__init__.py", "thing/lib/libthing.so.1", "thing-1.2.dist-info/METADATA"}
    assert found == {*runs, "sbom.cdx.json"}
    assert (tree / "thing/__init__.py").read_text() == FILES["thing/__init__.py"]
    [component] = json.loads((tree / "sbom.cdx.json").read_text())["components"]
    assert (component["name"], component["version"]) == ("thing", "1.2")


def test_modes_do_not_follow_the_build_host(tree: Path) -> None:
    modes = {path.stat().st_mode & 0o7777 for path in tree.rglob("*") if path.is_file()}
    assert modes == {0o644}
    assert {path.stat().st_mode & 0o7777 for path in tree.rglob("*") if path.is_dir()} == {0o755}


def test_the_same_wheels_give_the_same_bytes(packed: list[Path]) -> None:
    first, second = packed
    assert first.read_bytes() == second.read_bytes()
