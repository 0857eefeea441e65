"""``ainitctl measurements``: the log and the PCRs."""

from __future__ import annotations

from tests.support.replies import MEASUREMENTS

from .conftest import Run, Serve


def test_measurements(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Control.Measurements": MEASUREMENTS})
    result = run("measurements")
    lines = result.out.splitlines()
    assert lines[1].split() == ["0", "13", "model", "magika", "sha256:" + "cd" * 32]
    assert lines[2].endswith("the signature does not match")
    assert lines[-1] == "PCR 13  " + "12" * 32
