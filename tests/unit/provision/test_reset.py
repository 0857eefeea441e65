"""A state is emptied but for what is kept, and the mark goes last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ainit.errors import RefusedError
from ainit.provision import reset


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state in use."""
    for name in ("config/machine.toml", "models/objects/0a/model", "audit/on/x", "lost+found/1"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    (tmp_path / "log").symlink_to("/etc")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(os.path, "ismount", lambda path: path == str(tmp_path))
    return tmp_path


def held(state: Path) -> set[str]:
    found = (path for path in state.rglob("*") if path.is_symlink() or not path.is_dir())
    return {str(path.relative_to(state)) for path in found}


@pytest.mark.parametrize(
    ("keep", "stays", "said"),
    [
        ([], set(), "the state was reset"),
        (["models"], {"models/objects/0a/model"}, "the state was reset, but for models"),
        (
            ["models", "config"],
            {"models/objects/0a/model", "config/machine.toml"},
            "the state was reset, but for config and models",
        ),
    ],
)
def test_everything_goes_but_what_is_kept(
    state: Path, keep: list[str], stays: set[str], said: str
) -> None:
    reset.mark(str(state), keep)
    assert reset.wipe(str(state)) == said
    assert held(state) == {"lost+found/1", *stays}
    for folder in ("config", "models/incoming", "models/objects", "models/names"):
        assert (state / folder).is_dir()


def test_links_are_not_followed(state: Path) -> None:
    outside = state.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "file").write_text("")
    (state / "audit/link").symlink_to(outside)
    (state / "top").symlink_to(outside)
    reset.mark(str(state), [])
    reset.wipe(str(state))
    assert (outside / "file").exists()


def test_a_power_cut_on_the_way_leaves_the_mark(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset.mark(str(state), ["models"])
    remove = reset._remove
    removed: list[str] = []

    def cut(path: str) -> None:
        if removed and removed[-1]:
            removed.append("")
            raise KeyboardInterrupt
        removed.append(path)
        remove(path)

    monkeypatch.setattr(reset, "_remove", cut)
    cuts = 0
    while (state / reset.MARK).exists():
        try:
            reset.wipe(str(state))
        except KeyboardInterrupt:
            cuts += 1
    assert cuts == 3, "of four removals, one a boot"
    assert held(state) == {"lost+found/1", "models/objects/0a/model"}


def test_a_mark_that_cannot_be_read_keeps_nothing(state: Path) -> None:
    for text in ("", "[", '{"models": 1}', '"models"'):
        (state / reset.MARK).write_text(text)
        reset.wipe(str(state))
        assert held(state) == {"lost+found/1"}


def test_only_models_and_configuration_can_be_kept(state: Path) -> None:
    with pytest.raises(RefusedError, match="audit cannot be kept"):
        reset.mark(str(state), ["audit", "models"])
    assert not (state / reset.MARK).exists()


def test_a_machine_without_a_state_has_none_to_reset(state: Path) -> None:
    with pytest.raises(RefusedError, match="no state"):
        reset.mark(str(state / "models"), [])
