"""``ainitctl analyze``: phases, chain, blame and picture of one boot."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from tests.support.boot import BOOT, PHASES, UNITS

from .conftest import Run, Serve

METHOD = "org.ainos.Control.Status"


def test_the_chain_is_explained(run: Run, serve: Serve) -> None:
    serve({METHOD: BOOT})
    result = run("analyze")
    assert result.code == 0
    assert result.out == (
        "firmware      4.000 s\n"
        "loader        1.000 s\n"
        "kernel        2.000 s\n"
        "ainit         1.000 s\n"
        "agents       22.500 s\n"
        "together     30.500 s\n"
        "\n"
        "speech became ready at 25.1 s: waited 17.2 s for gpu, started in 4.9 s\n"
        "gpu became ready at 20.2 s: waited 2.0 s for devices, started in 15.2 s\n"
        "devices became ready at 5.0 s: wanted at 3.0 s, started in 2.0 s\n"
    )


def test_the_chain_as_json(run: Run, serve: Serve) -> None:
    serve({METHOD: BOOT})
    answer = json.loads(run("analyze", "--json").out)
    assert [link["name"] for link in answer["chain"]] == ["speech", "gpu", "devices"]
    assert [link["waited_for"] for link in answer["chain"]] == ["gpu", "devices", ""]
    assert answer["healthy_at"] == 25.5
    assert answer["phases"][0] == {"name": "firmware", "start": -5.0, "end": -1.0, "seconds": 4.0}


def test_a_boot_that_is_not_over_says_so(run: Run, serve: Serve) -> None:
    serve({METHOD: {**BOOT, "phases": PHASES[:4]}})
    assert "the boot is not over" in run("analyze").out


def test_a_boot_of_which_nothing_is_known(run: Run, serve: Serve) -> None:
    serve({METHOD: {**BOOT, "phases": [], "units": []}})
    assert run("analyze").out == "no essential unit that the boot started is ready\n"


def test_blame_names_the_slowest_first(run: Run, serve: Serve) -> None:
    serve({METHOD: BOOT})
    lines = run("analyze", "blame").out.splitlines()
    assert lines[0].split() == ["STARTED", "IN", "WAITED", "READY", "AT", "STATE", "UNIT"]
    assert lines[1].split() == ["15.200", "2.000", "20.200", "ready", "gpu"]
    assert [line.split()[-1] for line in lines[2:]] == [
        *("speech", "network", "devices", "crasher", "slow"),
    ]
    assert lines[-1].split() == ["-", "1.000", "-", "starting", "slow"]


def test_blame_as_json(run: Run, serve: Serve) -> None:
    serve({METHOD: BOOT})
    first = json.loads(run("analyze", "blame", "--json").out)["units"][0]
    assert (first["name"], first["waited_s"]) == ("gpu", 2.0)


def test_the_plot_goes_into_a_file(run: Run, serve: Serve, tmp_path: Path) -> None:
    serve({METHOD: BOOT})
    result = run("analyze", "plot", "-o", str(tmp_path / "boot.svg"), "--rows", "5")
    assert (result.code, result.out, result.err) == (0, "", "")
    root = ElementTree.fromstring((tmp_path / "boot.svg").read_bytes())
    groups = [group for group in root if "data-unit" in group.attrib]
    assert len(groups) == 5 < len(UNITS)


def test_a_file_that_cannot_be_written_is_named(run: Run, serve: Serve, tmp_path: Path) -> None:
    serve({METHOD: BOOT})
    result = run("analyze", "plot", "-o", str(tmp_path / "no" / "boot.svg"))
    assert result.code == 1
    assert "boot.svg" in result.err
    assert run("analyze", "plot").code == 2
