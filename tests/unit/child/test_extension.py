from __future__ import annotations

import sys

import pytest

from ainit.child import extension


def test_extensions_come_first_on_the_import_path_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/lib/python3/dist-packages"])
    monkeypatch.setenv("AINOS_EXTENSION_TORCH", "/run/ainit/extensions/torch")
    monkeypatch.setenv("AINOS_EXTENSION_CUDA", "/run/ainit/extensions/cuda")
    found = ["/run/ainit/extensions/cuda", "/run/ainit/extensions/torch"]
    assert extension.use() == found
    assert extension.use() == found
    assert sys.path == [*found, "/usr/lib/python3/dist-packages"]


def test_without_extensions_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/lib/python3/dist-packages"])
    assert extension.use() == []
    assert sys.path == ["/usr/lib/python3/dist-packages"]
