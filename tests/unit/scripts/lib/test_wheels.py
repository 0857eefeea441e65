"""Wheels: pins are read or refused, metadata is read, a wheel is laid out without an installer."""

import zipfile
from pathlib import Path

import pytest
from lib.wheels import WheelError, inspect, lay, parse_lock

METADATA = "Metadata-Version: 2.4\nName: Some_Thing.x\nVersion: 1.2\n"


def _wheel(folder: Path, files: dict[str, str], metadata: str = METADATA) -> Path:
    path = folder / "some_thing_x-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("some_thing_x-1.2.dist-info/METADATA", metadata)
    return path


def test_a_lock_gives_the_hash_of_each_package() -> None:
    digest = "0" * 64
    text = f"# why\n\nclick==8.5.1 --hash=sha256:{digest}\n"
    assert parse_lock(text, "wheels.txt") == {"click": digest}


@pytest.mark.parametrize(
    "line",
    [
        "click==8.5.1",
        "click==8.5.1 --hash=sha256:abc",
        f"click>=8 --hash=sha256:{'0' * 64}",
        f"click==8 --hash=sha256:{'0' * 64} --hash=sha256:{'1' * 64}",
        "-e .",
    ],
)
def test_a_line_that_is_no_pin_is_refused_with_its_place(line: str) -> None:
    with pytest.raises(WheelError, match=r"^wheels\.txt:2: expected"):
        parse_lock(f"# why\n{line}\n", "wheels.txt")


@pytest.mark.parametrize(
    ("extra", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other\n", "MIT OR Apache-2.0"),
        ("License: BSD\n", "BSD"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
        ("Classifier: License :: OSI Approved\n", ""),
        ("", ""),
    ],
)
def test_a_wheel_says_its_name_version_and_licence(
    tmp_path: Path, extra: str, licence: str
) -> None:
    found = inspect(_wheel(tmp_path, {}, METADATA + extra))
    assert (found.name, found.version, found.licence) == ("some-thing-x", "1.2", licence)


def test_only_modules_are_laid_out(tmp_path: Path) -> None:
    wheel = _wheel(
        tmp_path,
        {
            "thing/__init__.py": "code",
            "thing-1.data/purelib/more.py": "code",
            "thing-1.data/platlib/low.so": "code",
            "thing-1.data/scripts/thing": "program",
            "thing-1.data/data/share/x": "data",
        },
    )
    out = tmp_path / "out"
    lay(wheel, out)
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    wanted = {"thing/__init__.py", "more.py", "low.so", "some_thing_x-1.2.dist-info/METADATA"}
    assert found == wanted


@pytest.mark.parametrize("name", ["../outside.py", "/outside.py", "a/../../outside.py"])
def test_a_wheel_that_leaves_the_tree_is_refused(tmp_path: Path, name: str) -> None:
    wheel = _wheel(tmp_path, {name: "code"})
    with pytest.raises(WheelError, match="leaves the tree"):
        lay(wheel, tmp_path / "out")
    assert not (tmp_path / "outside.py").exists()
