"""The part of PID 1 that is C, compiled for the host and for images."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from lib import architecture, native
from lib.host import HostError


def test_the_library_is_built_once_and_lies_beside_what_loads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = architecture.of(platform.machine())
    library = native.build(here)
    assert library == native.place(here)
    assert native.BESIDE.read_bytes() == library.read_bytes()
    monkeypatch.setattr(native, "run", lambda *_, **__: pytest.fail("built again"))
    assert native.build(here) == library


def test_another_source_is_built_anew_and_does_not_touch_another_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "native.c"
    source.write_text("int one;\n")
    monkeypatch.setattr(native, "SOURCE", source)
    monkeypatch.setattr(native, "BESIDE", tmp_path / "beside.so")
    monkeypatch.setattr(native, "OUTPUT", tmp_path)
    here = architecture.of(platform.machine())
    first = native.build(here).read_bytes()
    source.write_text("int one, two;\n")
    assert native.build(here).read_bytes() != first
    other = next(each for each in architecture.ARCHITECTURES.values() if not each.runs_here)
    assert native.place(other) != native.place(here)


def test_what_the_compiler_refuses_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "native.c"
    source.write_text("int f(void) { int unused; return 0; }\n")
    monkeypatch.setattr(native, "SOURCE", source)
    with pytest.raises(HostError, match="unused"):
        native.compile_library(tmp_path / "library.so", "gcc")
    assert not (tmp_path / "library.so").exists()
