"""The cases ported from other supervisors: their count, and the table that lists them."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib import supervisor_cases
from lib.host import HostError
from lib.supervisor_cases import Case, Cases

REPORT = """<testsuites><testsuite>
<testcase name="one"/>
<testcase name="two"><failure message="no"/></testcase>
<testcase name="three"><error/></testcase>
<testcase name="four"><skipped/></testcase>
</testsuite></testsuites>"""


def test_what_did_not_pass_counts_as_failed() -> None:
    assert supervisor_cases.counted(REPORT) == Cases(4, 3)


def test_there_are_enough_of_them() -> None:
    assert len(list(supervisor_cases.listed())) >= supervisor_cases.LEAST


def test_the_document_lists_them_all() -> None:
    wanted = supervisor_cases.table(list(supervisor_cases.listed()))
    assert supervisor_cases.DOCUMENT.read_text(encoding="utf-8") == wanted, (
        "in scripts/: python -m lib.supervisor_cases"
    )


def test_every_origin_has_a_case() -> None:
    names = [one.name for one in supervisor_cases.listed()]
    assert [one for one in supervisor_cases.ORIGINS if not any(map(one.__eq__, names))
            and not any(name.startswith(one) for name in names)] == []  # fmt: skip


def test_the_longest_beginning_says_where_a_case_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "test_x.py"
    path.write_text('def test_finit_crashing_backoff():\n    """It\n    waits.\n\n    More."""\n')
    assert list(supervisor_cases.listed(tmp_path)) == [
        Case("finit_crashing_backoff", "finit test/", "It waits.", ("systemd",))
    ]


@pytest.mark.parametrize(
    "text", ["def test_finit_x(): pass\n", 'def test_mine():\n    """Is."""\n']
)
def test_a_case_without_origin_or_words_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "test_x.py").write_text(text)
    with pytest.raises(HostError, match=r"test_x\.py:1: "):
        list(supervisor_cases.listed(tmp_path))


def test_running_them_gives_their_count(tmp_path: Path) -> None:
    path = tmp_path / "test_x.py"
    path.write_text("def test_a(): pass\ndef test_b(): assert 0\n")
    assert supervisor_cases.run(tmp_path) == Cases(2, 1)
