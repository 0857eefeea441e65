"""Xids and what follows: the table, spot-checked against NVIDIA's catalog."""

from __future__ import annotations

import pytest

from ainit.sched import xid
from ainit.sched.xid import Response


@pytest.mark.parametrize(
    ("response", "codes"),
    [
        (Response.IGNORE, (43, 45, 63, 92, 137, 154, 171, 172)),
        (Response.APPLICATION, (8, 13, 31, 39, 68, 69, 94, 101, 130)),
        (Response.RESET, (46, 48, 62, 64, 95, 109, 119, 120, 140, 143, 158)),
        (Response.REBOOT, (79, 151)),
        (Response.CORDON, (54, 74, 78, 142, 144, 149)),
    ],
)
def test_the_catalogs_actions(response: Response, codes: tuple[int, ...]) -> None:
    assert {xid.classify(code).response for code in codes} == {response}


def test_every_code_has_one_entry() -> None:
    listed = [code for words in xid._WORDS.values() for code in words]
    assert len(listed) == len(set(listed)) == len(xid.TABLE)
    assert all(entry.words for entry in xid.TABLE.values())


def test_one_that_nobody_knows_is_not_trusted_and_moves_nobody() -> None:
    entry = xid.classify(999)
    assert (entry.known, entry.response.cordons, entry.response.moves) == (False, True, False)
    assert xid.describe(999) == "Xid 999 (unknown)"


def test_only_what_a_reset_or_a_reboot_mends_moves_holders() -> None:
    assert {each for each in Response if each.moves} == {Response.RESET, Response.REBOOT}
    assert {each for each in Response if not each.cordons} == {
        Response.IGNORE,
        Response.APPLICATION,
    }
