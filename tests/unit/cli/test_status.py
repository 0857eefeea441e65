"""``ainitctl status``: health, findings, units."""

from __future__ import annotations

from tests.support.replies import STATUS, UNIT

from .conftest import Run, Serve, rows


def test_status_shows_health_its_findings_and_every_unit(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Control.Status": STATUS})
    result = run("status")
    assert result.code == 0
    shown = rows(result.out)
    assert shown["health"] == ["health", "degraded"]
    assert "speech is refused: model silero-vad" in result.out
    assert "kernel 2.5s, ainit 1.2s" in result.out
    assert shown["file-type"][1:7] == ["agent", "ready", "71", "2", "50.0M", "1h"]
    assert shown["file-type"][-4:] == ["1g.10gb", "on", "GPU", "0"]
    assert shown["speech"][1:6] == ["agent", "refused", "-", "0", "-"]


def test_status_failed_shows_only_what_is_wrong(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Control.Status": STATUS})
    shown = rows(run("status", "--failed").out)
    assert "speech" in shown
    assert "file-type" not in shown


def test_status_shows_which_agent_was_denied_files(run: Run, serve: Serve) -> None:
    unit = {**UNIT, "gpu": {"profile": "1g.10gb", "uuid": "MIG-1", "gpu": 0}, "denied_opens": 3}
    serve({"org.ainos.Control.Status": {**STATUS, "units": [unit]}})
    assert "1g.10gb on GPU 0, denied 3 files" in run("status").out
