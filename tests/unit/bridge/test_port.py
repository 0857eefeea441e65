from __future__ import annotations

from pathlib import Path

import pytest

from ainit.bridge import port
from ainit.errors import DeadlineError


def test_a_port_is_found_by_its_name(tmp_path: Path) -> None:
    for entry, name in (("vport0p1", "org.ainos.shell\n"), ("vport0p2", "org.ainos.control\n")):
        (tmp_path / entry).mkdir()
        (tmp_path / entry / "name").write_text(name)
    (tmp_path / "vport0p0").mkdir()  # a console has no name
    assert port.find("org.ainos.control", str(tmp_path)) == "/dev/vport0p2"
    assert port.find("org.ainos.other", str(tmp_path)) is None
    assert port.find("org.ainos.control", str(tmp_path / "missing")) is None


def test_a_port_that_comes_late_is_waited_for() -> None:
    answers = iter([None, None, "/dev/vport0p1"])
    pauses: list[float] = []
    found = port.wait_port("x", look=lambda _: next(answers), sleep=pauses.append)
    assert (found, len(pauses)) == ("/dev/vport0p1", 2)


def test_the_wait_for_a_port_has_an_end() -> None:
    pauses: list[float] = []
    with pytest.raises(DeadlineError, match="no virtio-serial port x after 2 s"):
        port.wait_port("x", 2, look=lambda _: None, sleep=pauses.append)
    assert sum(pauses) == pytest.approx(2)
