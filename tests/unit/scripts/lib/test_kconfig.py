"""Fragments are merged with findings; every option that Kconfig drops is named with its line."""

from pathlib import Path

import pytest
from lib.kconfig import find_dropped, merge_fragments, parse_config, render

REPOSITORY = Path(__file__).resolve().parents[4]


def test_values_of_every_kind_are_merged_across_fragments() -> None:
    options, findings = merge_fragments(
        [
            ("a.config", '# why\nCONFIG_NET=y\nCONFIG_NAME="x y"\n'),
            ("b.config", "\nCONFIG_NR_CPUS=512\nCONFIG_MASK=0x0\n# CONFIG_DEVMEM is not set\n"),
        ]
    )
    assert findings == []
    assert {name: option.value for name, option in options.items()} == {
        "CONFIG_NET": "y",
        "CONFIG_NAME": '"x y"',
        "CONFIG_NR_CPUS": "512",
        "CONFIG_MASK": "0x0",
        "CONFIG_DEVMEM": "n",
    }
    assert options["CONFIG_DEVMEM"].where == "b.config:4"


@pytest.mark.parametrize(
    "line", ["CONFIG_NET=m", "CONFIG_NET=", "NET=y", "CONFIG_NET = y", "# CONFIG_NET is unset"]
)
def test_a_line_that_is_no_option_is_named(line: str) -> None:
    _, findings = merge_fragments([("a.config", f"# why\n{line}\n")])
    assert findings == [f"a.config:2: not an option: {line}"]


def test_an_option_asked_for_twice_names_both_places() -> None:
    options, findings = merge_fragments(
        [("a.config", "CONFIG_NET=y\n"), ("b.config", "# why\n# CONFIG_NET is not set\n")]
    )
    assert findings == ["b.config:2: CONFIG_NET is already in a.config:1"]
    assert options["CONFIG_NET"].value == "y"


def test_what_kconfig_dropped_or_changed_is_named_with_its_line() -> None:
    text = """\
CONFIG_KEPT=y
CONFIG_DROPPED=y
CONFIG_NUMBER=512
# CONFIG_OFF is not set
# CONFIG_FORCED is not set
"""
    options, _ = merge_fragments([("a.config", text)])
    final = "CONFIG_KEPT=y\nCONFIG_NUMBER=64\nCONFIG_FORCED=y\n# CONFIG_DROPPED is not set\n"
    findings = find_dropped(options, final)
    assert [finding.split(" was ")[0] for finding in findings] == [
        "a.config:2: CONFIG_DROPPED=y",
        "a.config:3: CONFIG_NUMBER=512",
        "a.config:5: CONFIG_FORCED=n",
    ]
    assert findings[1].endswith("the final configuration has 64")


def test_rendering_ignores_comments_and_order() -> None:
    one, _ = merge_fragments([("a.config", "# one reason\nCONFIG_B=y\nCONFIG_A=n\n")])
    two, _ = merge_fragments([("z.config", "CONFIG_A=n\n"), ("y.config", "CONFIG_B=y\n")])
    assert render(one) == render(two) == "CONFIG_A=n\nCONFIG_B=y\n"
    assert parse_config(render(one)) == {"CONFIG_A": "n", "CONFIG_B": "y"}


def test_the_fragments_of_the_image_have_no_finding_and_say_their_purpose() -> None:
    paths = sorted((REPOSITORY / "kernel-config").glob("*.config"))
    options, findings = merge_fragments([(path.name, path.read_text()) for path in paths])
    assert findings == []
    assert options["CONFIG_BLK_DEV_INITRD"].value == "n"
    for path in paths:
        assert path.read_text().startswith("# "), f"{path.name} does not say what it is for"
