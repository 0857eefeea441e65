"""``ainitctl check`` finds every mistake, with file and line, and needs no machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run

GOOD = '[service]\nexec = ["/bin/true"]\n'
ROOT = Path(__file__).resolve().parents[3]


def write(folder: Path, name: str, text: str) -> Path:
    """A file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_good_file(run: Run, tmp_path: Path) -> None:
    result = run("check", str(write(tmp_path, "gpu.toml", GOOD)))
    assert (result.code, result.out) == (0, "1 file: no findings\n")


def test_every_finding_names_file_and_line(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, "gpu.toml", GOOD + 'exce = 1\ntype = "sometimes"\n')
    result = run("check", str(path))
    assert result.code == 1
    places = [line.split(": ")[0] for line in result.out.splitlines()]
    assert places == [f"{path}:3", f"{path}:4"]


def test_json_has_the_same_findings(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, "gpu.toml", "[service]\n")
    result = run("check", str(path), "--json")
    assert result.code == 1
    (finding,) = json.loads(result.out)
    assert (finding["file"], "exec" in finding["message"]) == (str(path), True)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("a/manifest.toml", "[agent]\nbogus = 1\n", "measurement"),
        ("any.toml", "[agent]\nbogus = 1\n", "measurement"),
        ("any.toml", "[machine]\nbogus = 1\n", "hostname"),
        ("machine.toml", "[machine]\nbogus = 1\n", "hostname"),
        ("any.toml", "[service]\nbogus = 1\n", "start_timeout_s"),
        ("any.toml", "= 1\n", ""),
    ],
)
def test_a_file_is_checked_for_what_it_is(
    run: Run, tmp_path: Path, name: str, text: str, word: str
) -> None:
    result = run("check", str(write(tmp_path, name, text)))
    assert result.code == 1
    assert word in result.out


def test_as_overrules_the_name(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, "machine.toml", GOOD)
    assert run("check", str(path)).code == 1
    assert run("check", "--as", "unit", str(path)).code == 0


def test_a_directory_is_checked_as_a_whole(run: Run, tmp_path: Path) -> None:
    write(tmp_path, "units/a.toml", GOOD + 'requires = ["b"]\n')
    write(tmp_path, "units/b.toml", GOOD + 'requires = ["a"]\n')
    result = run("check", str(tmp_path))
    assert result.code == 1
    assert "cycle" in result.out


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_nothing_to_check_is_a_finding(run: Run, tmp_path: Path, name: str) -> None:
    assert run("check", str(tmp_path / name)).code == 1


def test_a_file_that_is_no_text_is_a_finding(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xff\xfe")
    result = run("check", str(path))
    assert (result.code, "cannot be read" in result.out) == (1, True)
