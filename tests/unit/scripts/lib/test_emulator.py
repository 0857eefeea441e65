from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from lib import emulator
from lib.host import HostError


@pytest.fixture
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(emulator.BOARDS.read_text())
    return loaded


def test_every_board_becomes_a_table(document: dict[str, Any]) -> None:
    source = emulator.geometry_source(document)
    for name, board in document["boards"].items():
        assert f'{{"{name}", "{board["product"]}"' in source
    assert f"BOARD_COUNT = {len(document['boards'])}" in source
    assert '{"3g.40gb", 2, 9, 3, 4, 2, 2, {0, 4}, 40448, 60, ' in source


def test_the_checksum_follows_the_geometry(document: dict[str, Any]) -> None:
    changed = copy.deepcopy(document)
    changed["boards"]["H100-80GB"]["profiles"][0]["sms"] += 1
    first, second = emulator.geometry_source(document), emulator.geometry_source(changed)
    assert first.splitlines()[3] != second.splitlines()[3]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("memory_slices",), 9, "memory_slices"),
        (("profiles", 0, "enum"), 3, "first profile"),
        (("profiles", 3, "starts"), [0, 2, 7], "ends beyond slice 8"),
        (("profiles", 4, "ci", -1, "compute"), 2, "full width"),
    ],
)
def test_unsound_geometry_is_refused(
    document: dict[str, Any], path: tuple[Any, ...], value: object, message: str
) -> None:
    target = document["boards"]["H100-80GB"]
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(HostError, match=message):
        emulator.geometry_source(document)


def test_the_library_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    library = emulator.build()
    monkeypatch.setattr(emulator, "run", lambda *_, **__: pytest.fail("built again"))
    assert emulator.build() == library
