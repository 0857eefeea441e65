"""Buildroot's boards: merged from fragments that do not contradict each other, and checked."""

from pathlib import Path

import pytest
from lib import buildroot
from lib.buildroot import BuildrootError, boards, configure, requested
from lib.variant import VARIANTS


def test_every_board_builds_a_variant_that_there_is() -> None:
    named = {board: requested(board).get("BR2_AINOS_VARIANT") for board in boards()}
    assert {"qemu", "server", "server-nvidia"} <= named.keys()
    assert {option.value.strip('"') for option in named.values() if option} <= VARIANTS.keys()


def test_every_board_has_one_processor() -> None:
    processors = {"BR2_x86_64", "BR2_aarch64"}
    for board in boards():
        assert len(processors & requested(board).keys()) == 1, board


def test_a_board_that_there_is_not_is_named() -> None:
    with pytest.raises(BuildrootError, match="no board 'toaster'; there are: qemu"):
        requested("toaster")


def test_a_board_without_its_fragment_is_an_error_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "boards"
    path.write_text("# boards\nqemu x86_64 nothing\n")
    monkeypatch.setattr(buildroot, "BOARDS", path)
    with pytest.raises(BuildrootError, match=r"boards:2: .*nothing"):
        boards()


def test_settings_of_the_users_are_part_and_may_not_contradict(tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    settings.write_text('BR2_DL_DIR="/srv/downloads"\n')
    assert requested("qemu", settings)["BR2_DL_DIR"].value == '"/srv/downloads"'
    settings.write_text("BR2_LINUX_KERNEL=y\n")
    with pytest.raises(BuildrootError, match="settings:1: BR2_LINUX_KERNEL is already in"):
        requested("qemu", settings)


def test_an_option_that_buildroot_drops_is_an_error_with_its_line(tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    settings.write_text("BR2_PACKAGE_GONE=y\n")
    options = requested("qemu", settings)
    keep = "\n".join(f"{o.name}={o.value}" for o in options.values() if "GONE" not in o.name)
    (tmp_path / ".config").write_text(keep)
    with pytest.raises(BuildrootError, match=r"settings:1: BR2_PACKAGE_GONE=y was dropped"):
        configure(["true"], options, tmp_path)


def test_wrappers_of_other_interpreters_are_not_on_the_path() -> None:
    assert buildroot.path("/root/.pyenv/shims:/usr/bin:/bin") == "/usr/bin:/bin"
