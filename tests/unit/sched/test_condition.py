"""The file that keeps the health of GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.errors import ConfigError
from ainit.sched import health
from ainit.sched.condition import Condition, Store
from tests.unit.sched.fake_health import GPU0, GPU1, FakeHealth


def test_all_that_is_known_is_kept(tmp_path: Path) -> None:
    store = Store(f"{tmp_path}/health.json")
    assert store.load() == {}
    one = health.look(Condition(GPU0), FakeHealth().read(GPU0), 5.0)
    one = health.hear(health.hear(one, 79, None, 6.5), 94, 3, 7.0)
    one = health.release(health.hold(one, "by an operator", 8.0))
    two = health.lose(Condition(GPU1), "it does not answer any more", 9.0)
    store.save([one, two])
    assert store.load() == {GPU0: one, GPU1: two}


@pytest.mark.parametrize(
    "text",
    [
        "scribble",
        "[]",
        '{"schema": 2, "gpus": []}',
        '{"schema": 1}',
        '{"schema": 1, "gpus": [{"uuid": "GPU-0"}]}',
        '{"schema": 1, "gpus": [7]}',
    ],
)
def test_what_is_no_such_file_is_refused_by_name_and_set_aside(tmp_path: Path, text: str) -> None:
    path = tmp_path / "health.json"
    path.write_text(text)
    store = Store(str(path))
    with pytest.raises(ConfigError, match=r"health\.json:1"):
        store.load()
    assert Path(store.set_aside()).read_text() == text
    assert store.load() == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"uuid":"GPU-fake-0"', '"uuid":7'),
        ('"cause":"xid"', '"cause":"envy"'),
        ('"lift":"reboot"', '"lift":7'),
        ('"code":79', '"code":"79"'),
        ('"moves":true', '"moves":1'),
        ('"uncorrected":0', '"uncorrected":"none"'),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "health.json"
    store = Store(str(path))
    store.save([health.hear(Condition(GPU0), 79, None, 6.5)])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError):
        store.load()
