"""``ainitctl unit`` and its short forms."""

from __future__ import annotations

import json

from tests.support.replies import UNIT

from .conftest import Run, Serve, rows


def test_unit_show(run: Run, serve: Serve) -> None:
    server = serve({"org.ainos.Control.Describe": {"unit": UNIT}})
    result = run("unit", "show", "file-type")
    assert server.calls == [("org.ainos.Control.Describe", {"name": "file-type"})]
    shown = rows(result.out)
    assert shown["memory"] == ["memory", "50.0M"]
    assert shown["provides"] == ["provides", "org.ainos.agent.FileType"]
    assert "reason" not in shown
    assert json.loads(run("unit", "show", "file-type", "--json").out) == {"unit": UNIT}


def test_start_goes_through_every_name_in_order(run: Run, serve: Serve) -> None:
    server = serve({"org.ainos.Control.Start": {}})
    assert run("start", "b", "a").code == 0
    assert [parameters for _, parameters in server.calls] == [{"name": "b"}, {"name": "a"}]
