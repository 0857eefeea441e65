"""The list of host packages, and what is missing of it."""

import pytest
from lib.setup import SetupError, missing_packages, parse_packages, wanted_packages


def test_sections_and_comments_are_read() -> None:
    text = "# why\n[run]\ngcc  # compiler\n\n[test]\nshellcheck\n"
    assert parse_packages(text, "x") == {"run": ["gcc"], "test": ["shellcheck"]}


@pytest.mark.parametrize(
    ("text", "line"), [("gcc\n", 1), ("[run]\n[run]\n", 2), ("[run]\ng cc\n", 2), ("[other]\n", 1)]
)
def test_a_bad_line_is_named(text: str, line: int) -> None:
    with pytest.raises(SetupError, match=rf"^x:{line}: "):
        parse_packages(text, "x")


def test_tests_need_what_the_build_needs_and_more() -> None:
    assert set(wanted_packages("run")) < set(wanted_packages("test"))
    assert set(wanted_packages("test")) < set(wanted_packages("buildroot"))
    assert "gcc-aarch64-linux-gnu" in wanted_packages("aarch64")


def test_what_dpkg_does_not_know_is_missing() -> None:
    assert missing_packages(["dpkg", "no-such-package-of-ainos"]) == ["no-such-package-of-ainos"]
