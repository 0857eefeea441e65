"""The conformance suite is counted as a whole, and its client is the machine's."""

from __future__ import annotations

from pathlib import Path

import pytest
from lib import bench_update_tuf, bench_update_tuf_client
from lib.host import HostError

from tests.support.release import IMAGE, Publisher


def test_whatever_did_not_pass_failed(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite>"
        '<testcase name="good"/>'
        '<testcase name="wrong"><failure/></testcase>'
        '<testcase name="broken"><error/></testcase>'
        '<testcase name="excused"><skipped type="pytest.xfail"/></testcase>'
        "</testsuite></testsuites>"
    )
    result = bench_update_tuf.read(report)
    assert (result.passed, result.failed) == (1, 3)
    assert result.names == ("wrong", "broken", "excused")


def test_another_directory_is_no_suite(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="is no checkout"):
        bench_update_tuf.conformance(tmp_path)


def test_the_client_follows_the_suites_commands(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.begin()
    publisher.publish("1.0")
    state, found = tmp_path / "state", tmp_path / "found"
    for folder in (state, found):
        folder.mkdir()
    common = ["--metadata-dir", str(state), "--metadata-url", f"{publisher.directory}/metadata/"]
    name = f"stable/{IMAGE}/1.0/uki.efi"
    where = ["--target-dir", str(found), "--target-base-url", f"{publisher.directory}/targets/"]
    root = str(publisher.directory / "metadata/1.root.json")
    assert bench_update_tuf_client.main([*common, "init", root]) == 0
    assert bench_update_tuf_client.main([*common, "refresh"]) == 0
    assert not list(found.iterdir())
    assert bench_update_tuf_client.main([*common, *where, "--target-name", name, "download"]) == 0
    assert [path.read_text() for path in found.iterdir()] == ["kernel 1.0"]
    words = [*common, *where, "--target-name", "stable/none", "download"]
    assert bench_update_tuf_client.main(words) == 1
