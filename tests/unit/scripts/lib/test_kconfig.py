"""Fragments are merged with findings; every option that Kconfig drops is named with its line."""

from pathlib import Path

import pytest
from lib.kconfig import find_dropped, merge_fragments, parse_config, render

REPOSITORY = Path(__file__).resolve().parents[4]


def test_values_of_every_kind_are_merged_across_fragments() -> None:
    options, findings = merge_fragments(
        [
            ("a.config", '# why\nCONFIG_NET=y\nCONFIG_NAME="x y"\n', False),
            (
                "b.config",
                "\nCONFIG_NR_CPUS=512\nCONFIG_MASK=0x0\n# CONFIG_DEVMEM is not set\n",
                False,
            ),
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
    "line", ["CONFIG_NET=", "NET=y", "CONFIG_NET = y", "# CONFIG_NET is unset"]
)
def test_a_line_that_is_no_option_is_named(line: str) -> None:
    _, findings = merge_fragments([("a.config", f"# why\n{line}\n", False)])
    assert findings == [f"a.config:2: not an option: {line}"]


def test_an_option_asked_for_twice_names_both_places() -> None:
    options, findings = merge_fragments(
        [
            ("a.config", "CONFIG_NET=y\n", False),
            ("b.config", "# why\n# CONFIG_NET is not set\n", False),
        ]
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
    options, _ = merge_fragments([("a.config", text, False)])
    final = "CONFIG_KEPT=y\nCONFIG_NUMBER=64\nCONFIG_FORCED=y\n# CONFIG_DROPPED is not set\n"
    findings = find_dropped(options, final)
    assert [finding.split(" was ")[0] for finding in findings] == [
        "a.config:2: CONFIG_DROPPED=y",
        "a.config:3: CONFIG_NUMBER=512",
        "a.config:5: CONFIG_FORCED=n",
    ]
    assert findings[1].endswith("the final configuration has 64")


def test_rendering_ignores_comments_and_order() -> None:
    one, _ = merge_fragments([("a.config", "# one reason\nCONFIG_B=y\nCONFIG_A=n\n", False)])
    two, _ = merge_fragments(
        [("z.config", "CONFIG_A=n\n", False), ("y.config", "CONFIG_B=y\n", True)]
    )
    assert render(one) == render(two) == "CONFIG_A=n\nCONFIG_B=y\n"
    assert parse_config(render(one)) == {"CONFIG_A": "n", "CONFIG_B": "y"}


@pytest.mark.parametrize("may_have_modules", [False, True])
def test_only_a_kernel_with_modules_may_ask_for_one(may_have_modules: bool) -> None:
    options, findings = merge_fragments([("a.config", "CONFIG_ICE=m\n", may_have_modules)])
    assert options["CONFIG_ICE"].value == "m"
    refusal = "a.config:1: CONFIG_ICE=m: modules belong to kernel-config/server"
    assert findings == ([] if may_have_modules else [refusal])
