"""The plan compiler as a command: what it reads, what it writes, and what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ainit.child import compile as compiler
from ainit.errors import ConfigError

UNIT = '[service]\nexec = ["/usr/bin/a"]\n'


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["compile", *map(str, words)])
    return compiler.main()


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The compiled plan of an image with the unit ``image``."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/image.toml").write_text(UNIT)
    (tmp_path / "agents").mkdir()
    (tmp_path / "machine.toml").write_text("")
    out = tmp_path / "base.json"
    words = ["--units", tmp_path / "image", "--agents", tmp_path / "agents"]
    assert run(monkeypatch, *words, "--machine", tmp_path / "machine.toml", "--out", out) == 0
    return out


def test_a_machine_without_units_of_its_own(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, out = tmp_path / "machine.toml", tmp_path / "out.json"
    words = ["--base", base, "--machine", machine, "--out", out]
    assert run(monkeypatch, *words) == run(monkeypatch, *words, "--units", tmp_path / "none") == 0
    assert json.loads(out.read_text()) == json.loads(base.read_text())


def test_units_of_the_machine_are_added(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units, out = tmp_path / "own", tmp_path / "out.json"
    units.mkdir()
    (units / "own.toml").write_text(UNIT + 'after = ["image"]\n')
    words = ["--base", base, "--units", units, "--machine", tmp_path / "machine.toml"]
    assert run(monkeypatch, *words, "--out", out) == 0
    assert [unit["name"] for unit in json.loads(out.read_text())["units"]] == ["image", "own"]


def test_findings_name_the_files_and_nothing_is_written(
    tmp_path: Path,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    units, out = tmp_path / "own", tmp_path / "out.json"
    units.mkdir()
    (units / "image.toml").write_text(UNIT)
    (units / "other.toml").write_text(UNIT + 'requires = ["nobody"]\n')
    machine = tmp_path / "machine.toml"
    words = ["--base", base, "--units", units, "--machine", machine, "--out", out]
    assert run(monkeypatch, *words) == 1
    assert capsys.readouterr().err.startswith(f"{units}/image.toml:1: image is a unit of the image")
    machine.write_text('[units]\nreplace = ["image"]\n')
    assert run(monkeypatch, *words) == 1
    expected = f"{units}/other.toml:3: other requires nobody, which is no unit\n"
    assert capsys.readouterr().err == expected
    assert not out.exists()


def test_files_that_cannot_be_read_come_at_once(
    tmp_path: Path,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    units = tmp_path / "own"
    units.mkdir()
    (units / "a.toml").write_bytes(b"\xff")
    words = ["--base", base, "--units", units, "--machine", tmp_path / "none.toml"]
    assert run(monkeypatch, *words, "--out", tmp_path / "out.json") == 1
    found = capsys.readouterr().err.splitlines()
    assert [line.partition(": cannot")[0] for line in found] == [
        f"{tmp_path}/none.toml:1", f"{units}/a.toml:1",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2, "units": [1], "machine": {}}'])
def test_a_base_that_is_no_plan(tmp_path: Path, base: Path, text: str) -> None:
    base.write_text(text)
    with pytest.raises(ConfigError, match="is no plan"):
        compiler.compile_plan(tmp_path / "machine.toml", base=base)


def test_a_base_or_units_and_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--machine", tmp_path, "--out", tmp_path)
    assert "give --base, or both --units and --agents" in capsys.readouterr().err
    with pytest.raises(ValueError, match="either a base plan"):
        compiler.compile_plan(tmp_path / "machine.toml", units=tmp_path)


def test_files_of_an_image_that_cannot_be_read_come_at_once(tmp_path: Path) -> None:
    for path in ("units/a.toml", "agents/b/manifest.toml", "machine.toml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"\xff")
    with pytest.raises(ConfigError) as caught:
        compiler.compile_plan(
            tmp_path / "machine.toml", units=tmp_path / "units", agents=tmp_path / "agents"
        )
    assert [one.file.removeprefix(f"{tmp_path}/") for one in caught.value.findings] == [
        "units/a.toml", "agents/b/manifest.toml", "machine.toml",
    ]  # fmt: skip


def test_what_is_no_toml_is_located_at_its_beginning(tmp_path: Path) -> None:
    assert compiler.locate(str(tmp_path / "none"), "service", "exec") == 1
