"""The Buildroot tree: each board's configuration is the common part plus the board's own."""

from pathlib import Path

EXTERNAL = Path(__file__).resolve().parents[3] / "buildroot-external"


def test_every_defconfig_is_the_common_fragment_and_its_boards() -> None:
    boards = sorted(path.name for path in (EXTERNAL / "board").iterdir() if path.name != "common")
    common = (EXTERNAL / "board" / "common" / "ainos.fragment").read_text()
    assert boards
    for board in boards:
        own = (EXTERNAL / "board" / board / f"{board}.fragment").read_text()
        defconfig = (EXTERNAL / "configs" / f"ainos_{board}_defconfig").read_text()
        assert defconfig == common + own, f"join ainos.fragment and {board}.fragment again"
