"""``ainitctl seal``: what is said of the sealed state, predicted, and done with the key."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from ainit.wire.protocol import VarlinkError
from tests.support.sealing import Approver

from .conftest import Run, Serve

SEAL = "org.ainos.Seal"
STATUS: dict[str, object] = {
    "state": "open",
    "device": "/dev/vda6",
    "version": "0.2.0",
    "generation": 2,
    "floor": 1,
    "floors": [1, 2],
    "findings": [],
    "notes": ["sealed for floor 2"],
    "recovery_waits": True,
}
KEY = "cccccccc-" * 7 + "cccccccc"


def test_an_open_state_with_its_floor(run: Run, serve: Serve) -> None:
    serve({f"{SEAL}.Status": STATUS})
    result = run("seal", "status")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "state       open (/dev/vda6)",
        "image       0.2.0, generation 2",
        "floor       1; sealed for 1, 2",
        "recovery    nobody has fetched the key: `ainitctl seal recovery-key`",
        "  sealed for floor 2",
    ]
    assert json.loads(run("seal", "status", "--json").out) == STATUS


def test_a_locked_state_names_what_changed_and_what_to_do(run: Run, serve: Serve) -> None:
    findings = ["PCR 7 (the Secure Boot keys or state) differs from when the state was sealed"]
    locked = {**STATUS, "state": "locked", "findings": findings, "notes": [], "version": ""}
    serve({f"{SEAL}.Status": locked})
    result = run("seal", "status")
    assert result.code == 1
    assert f"  {findings[0]}" in result.out
    assert "image       not approved" in result.out
    assert "`ainitctl seal recover`" in result.err


def test_a_machine_that_is_not_sealed(run: Run, serve: Serve) -> None:
    serve(
        {
            f"{SEAL}.Status": VarlinkError(
                "org.ainos.Control.Unavailable", {"interface": SEAL, "reason": "seal is inactive"}
            )
        }
    )
    result = run("seal", "status")
    assert (result.code, result.out) == (0, "state       plain: it is not sealed\n")


def test_another_fault_is_not_taken_for_that(run: Run, serve: Serve) -> None:
    reason = {"interface": SEAL, "reason": "seal is failed: it ended with status 1"}
    serve({f"{SEAL}.Status": VarlinkError("org.ainos.Control.Unavailable", reason)})
    assert run("seal", "status").code == 1


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release's directory."""
    word = Approver().approve(2, {9: bytes(32), 11: bytes(32), 12: bytes(32)}, "0.2.0")
    (tmp_path / "manifest.json").write_text(json.dumps({"seal": word.to_record()}))
    (tmp_path / "uki.seal.json").write_bytes(word.to_bytes())
    return tmp_path


@pytest.mark.parametrize("name", ["", "manifest.json", "uki.seal.json"])
def test_a_release_that_will_open(run: Run, serve: Serve, release: Path, name: str) -> None:
    server = serve({f"{SEAL}.Predict": {"opens": True, "findings": []}})
    result = run("seal", "status", "--for", str(release / name))
    assert (result.code, result.out) == (0, "0.2.0 opens the state\n")
    ((_, parameters),) = server.calls
    assert parameters == {"approval": json.loads((release / "uki.seal.json").read_text())}


def test_a_release_that_will_not(run: Run, serve: Serve, release: Path) -> None:
    serve({f"{SEAL}.Predict": {"opens": False, "findings": ["below the floor"]}})
    result = run("seal", "status", "--for", str(release))
    assert result.code == 1
    assert result.out.splitlines() == ["0.2.0 would not open the state", "  below the floor"]
    assert "the state would be locked" in result.err


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"seal": 7}'])
def test_a_release_that_says_nothing_of_it(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    result = run("seal", "status", "--for", str(tmp_path))
    assert result.code == 1
    assert "manifest.json" in result.err


@pytest.mark.parametrize("command", ["recover", "reseal"])
def test_the_recovery_key_comes_from_standard_input(
    run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    server = serve({f"{SEAL}.{command.capitalize()}": {"note": "sealed to 0.2.0 at floor 2"}})
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY + "\n"))
    result = run("seal", command)
    assert result.code == 0
    assert result.out.startswith("sealed to 0.2.0 at floor 2\n")
    assert ("ainitctl reboot" in result.out) is (command == "recover")
    assert server.calls == [(f"{SEAL}.{command.capitalize()}", {"key": KEY})]
    assert KEY not in result.out + result.err


def test_why_it_was_not_done(run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    error = VarlinkError(f"{SEAL}.Failed", {"reason": "this key opens nothing here"})
    serve({f"{SEAL}.Recover": error})
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY + "\n"))
    result = run("seal", "recover")
    assert result.code == 1
    assert "this key opens nothing here" in result.err


def test_the_key_is_printed(run: Run, serve: Serve) -> None:
    serve({f"{SEAL}.RecoveryKey": {"key": KEY}})
    assert run("seal", "recovery-key").out == f"{KEY}\n"
