"""What each supervisor is told: the same services, each in its own words; and the picture."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from lib import bench_supervisor
from lib.host import HostError
from lib.supervisors import ainit, plot
from lib.supervisors.peer import RECORDS, Peer

COUNT = 3


@pytest.mark.parametrize("peer", bench_supervisor.PEERS, ids=lambda peer: peer.name)
def test_the_configuration_starts_the_recording_service(peer: Peer, tmp_path: Path) -> None:
    peer.configure(tmp_path, COUNT)
    text = "\n".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert RECORDS in text
    assert "{" not in text or peer.name in ("ainit", "systemd", "python loop")


def test_ainit_gets_a_checked_plan_with_a_last_unit_behind_all_others(tmp_path: Path) -> None:
    ainit.PEER.configure(tmp_path, COUNT)
    plan = json.loads((tmp_path / "usr/lib/ainos/plan.json").read_text())
    assert len(plan["units"]) == COUNT + 1
    tomllib.loads((tmp_path / "usr/lib/ainos/machine.toml").read_text())


def test_a_supervisor_that_is_not_known_is_refused_with_those_that_are() -> None:
    assert [peer.name for peer in bench_supervisor.choose(["s6", "ainit"])] == ["ainit", "s6"]
    with pytest.raises(HostError, match=r"no supervisor launchd; there are: .*runit"):
        bench_supervisor.choose(["s6", "launchd"])


def test_the_picture_is_xml_with_a_bar_for_each_value() -> None:
    text = plot.svg("A & B", [("panel", {"ainit": 1.0, "systemd": 4.0}), ("none", {})], "ainit")
    bars = [
        node for node in ElementTree.fromstring(text).iter() if node.get("class") in ("own", "bar")
    ]
    assert [float(node.get("width", "0")) for node in bars] == [plot.BAR / 4, plot.BAR]
