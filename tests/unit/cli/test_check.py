"""``ainitctl check`` finds every mistake, with file and line, and needs no machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ainit.policy.plan import SERVICE, Plan, Unit
from ainit.wire.codec import dumps

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


def test_what_is_named_and_not_there_is_warned_of(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path, "a.toml", GOOD + 'after = ["b"]\nconflicts = ["c"]\n')
    result = run("check", str(tmp_path))
    assert (result.code, result.out.splitlines()) == (
        0,
        [
            f"{path}:3: warning: after names b, which is no unit here",
            f"{path}:4: warning: conflicts names c, which is no unit here",
        ],
    )
    found = json.loads(run("check", str(tmp_path), "--json").out)
    assert [one["severity"] for one in found] == ["warning", "warning"]
    assert run("check", str(path)).out == "1 file: no findings\n"


class TestOverAnImage:
    """A machine's own configuration is checked together with the image's units."""

    @pytest.fixture
    def base(self, tmp_path: Path) -> str:
        """The plan of an image with the units ``network`` and ``gpu``."""
        units = [Unit(name, SERVICE) for name in ("gpu", "network")]
        path = write(tmp_path, "plan.json", dumps(Plan(units, {}).to_record()))
        return str(path)

    def test_units_find_those_of_the_image(self, run: Run, tmp_path: Path, base: str) -> None:
        write(tmp_path, "own/units/a.toml", GOOD + 'requires = ["network"]\nwants = ["gpu"]\n')
        result = run("check", "--base", base, str(tmp_path / "own"))
        assert (result.code, result.out) == (0, "1 file: no findings\n")

    def test_a_unit_of_the_image_is_replaced_only_when_it_is_said(
        self, run: Run, tmp_path: Path, base: str
    ) -> None:
        unit = write(tmp_path, "own/units/gpu.toml", GOOD)
        result = run("check", "--base", base, str(tmp_path / "own"))
        assert result.out.startswith(f"{unit}:1: gpu is a unit of the image")
        write(tmp_path, "own/machine.toml", '[units]\nreplace = ["gpu"]\n')
        assert run("check", "--base", base, str(tmp_path / "own")).code == 0

    @pytest.mark.parametrize("text", ["[]", "{}", "x"])
    def test_a_base_that_is_no_plan(self, run: Run, tmp_path: Path, base: str, text: str) -> None:
        Path(base).write_text(text)
        write(tmp_path, "own/units/a.toml", GOOD)
        result = run("check", "--base", base, str(tmp_path / "own"))
        assert (result.code, f"{base}:1: is no plan" in result.out) == (1, True)
