"""``ainitctl remote`` and ``--host`` without a machine; with one: tests/contract/test_remote.py."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import pytest

from ainit.policy.machine_config import machine
from ainit.remote.operator import Folder, Host

from .conftest import Run, rows

EK = "ab" * 32


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("AINITCTL_FOLDER", str(tmp_path / "ainos"))
    return Folder(str(tmp_path / "ainos"))


def test_a_key_is_made_once_and_what_is_printed_lets_one_in(run: Run, folder: Folder) -> None:
    first = run("remote", "key", "--name", "alice", "--role", "operator")
    assert first.code == 0
    assert stat.S_IMODE(Path(folder.key).stat().st_mode) == 0o600
    table = tomllib.loads(first.out)["remote"]["operators"]["alice"]
    assert table["role"] == "operator"
    assert table["certificate"].strip() == folder.certificate().strip()
    settings, findings = machine('[remote]\nlisten = "tcp:0.0.0.0:7443"\n' + first.out, "m")
    assert findings == []
    assert settings["remote"]
    assert run("remote", "key", "--name", "alice", "--role", "operator").out == first.out


def test_the_users_own_name_will_do(
    run: Run, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "1 Ann-Smith")
    assert json.loads(run("remote", "key", "--json").out)["name"] == "ann-smith"
    monkeypatch.setattr("getpass.getuser", lambda: "42")
    assert json.loads(run("remote", "key", "--json").out)["name"] == "operator"


@pytest.mark.parametrize("name", ["Alice", "a b", "", "-a", "x" * 40])
def test_a_name_that_is_none(run: Run, folder: Folder, name: str) -> None:
    assert run("remote", "key", "--name", name).code == 2
    assert not Path(folder.key).exists()


def test_machines_are_listed_and_forgotten(run: Run, folder: Folder) -> None:
    assert run("remote", "list").code == 0
    folder.keep(Host("node1", "10.0.0.7", 7443, "x", EK))
    folder.keep(Host("node2", "fd00::2", 9000, "x", EK))
    found = rows(run("remote", "list").out)
    assert found["node1"] == ["node1", "10.0.0.7:7443", EK]
    assert found["node2"][1] == "[fd00::2]:9000"
    assert run("remote", "remove", "node1").code == 0
    assert [
        each["name"] for each in json.loads(run("remote", "list", "--json").out)["machines"]
    ] == ["node2"]
    assert run("remote", "remove", "node1").code == 1


def test_a_machine_that_nobody_met(run: Run, folder: Folder) -> None:
    folder.make_key("alice")
    done = run("--host", "node1", "status")
    assert done.code == 1
    assert "ainitctl remote add node1" in done.err
    done = run("status", "--host", "../x")
    assert done.code == 1
    assert "is no name of a machine" in done.err


def test_without_a_key_one_is_asked_for(run: Run, folder: Folder) -> None:
    folder.keep(Host("node1", "127.0.0.1", 1, "x", EK))
    done = run("--host", "node1", "status")
    assert done.code == 1
    assert "operator.pem" in done.err


def test_a_spoilt_record_is_named(run: Run, folder: Folder) -> None:
    folder.make_key("alice")
    folder.keep(Host("node1", "127.0.0.1", 1, "x", EK))
    path = Path(folder.path, "hosts/node1.json")
    for text in ("{", "[]", '{"address": "x"}', '{"address": "x", "port": "y"}'):
        path.write_text(text)
        done = run("--host", "node1", "status")
        assert done.code == 1
        assert "node1.json:1: is no record of a machine" in done.err


def test_the_host_can_be_in_the_environment(
    run: Run, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.make_key("alice")
    monkeypatch.setenv("AINITCTL_HOST", "node9")
    assert "ainitctl remote add node9" in run("status").err


@pytest.mark.parametrize("ek", ["00", "zz" * 32, "00" * 33])
def test_a_fingerprint_that_is_none(run: Run, folder: Folder, ek: str) -> None:
    assert run("remote", "add", "node1", "127.0.0.1", "--ek", ek).code == 2
