"""``ainitctl models``: admitted and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.linux import fsverity
from ainit.policy import model_files

from .conftest import Run, Serve, rows


def test_models_list(run: Run, serve: Serve) -> None:
    admitted = {
        "name": "magika",
        "kind": "model",
        "state": "admitted",
        "digest": "sha256:" + "cd" * 32,
        "signer": "publisher",
        "path": "/var/lib/ainos/models/objects/cdcd/model.onnx",
        "reason": "",
        "files": [],
    }
    refused = {**admitted, "name": "placement", "kind": "policy", "state": "refused"}
    refused.update(digest="", signer="", reason="not signed")
    serve({"org.ainos.Store.Models": {"models": [admitted, refused]}})
    shown = rows(run("models", "list").out)
    assert shown["magika"] == [
        "magika",
        "model",
        "admitted",
        "sha256:" + "cd" * 32,
        "publisher",
        "-",
    ]
    assert shown["placement"] == ["placement", "policy", "refused", "-", "-", "not", "signed"]


def work(**more: object) -> dict[str, object]:
    """A job as the store tells of it."""
    job = {"id": 3, "what": "add /mnt", "done": 0, "total": 0, "finished": False}
    return {"job": {**job, "name": "", "reason": "", **more}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ainit.cli.models.POLL_SECONDS", 0.0)


def test_adding_shows_how_it_went(run: Run, serve: Serve) -> None:
    server = serve(
        {
            "org.ainos.Store.Add": work(),
            "org.ainos.Store.Job": work(done=1536, total=1536, finished=True, name="speech"),
        }
    )
    result = run("models", "add", "/mnt")
    assert (result.code, result.err) == (0, "add /mnt: 1.5K of 1.5K\n")
    assert server.calls[0] == ("org.ainos.Store.Add", {"source": "/mnt"})


def test_a_model_that_was_refused_is_a_failure(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Store.Add": work(finished=True, reason="unsigned")})
    result = run("models", "add", "/mnt")
    assert result.code == 1
    assert "add /mnt: unsigned" in result.err


def test_a_job_that_somebody_else_started_is_not_ours(run: Run, serve: Serve) -> None:
    serve({"org.ainos.Store.Add": work(), "org.ainos.Store.Job": work(id=4, finished=True)})
    result = run("models", "add", "/mnt")
    assert result.code == 1
    assert "the store went on to something else" in result.err


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("update:speech", {"name": "speech"}),
        ("update:speech@2.0", {"name": "speech", "version": "2.0"}),
    ],
)
def test_a_release_is_asked_of_the_update_service(
    run: Run, serve: Serve, source: str, asked: dict[str, object]
) -> None:
    job = {"id": 3, "what": "add model speech", "done": 0, "total": 0, "finished": False}
    server = serve(
        {
            "org.ainos.Update.AddModel": {"job": {**job, "reason": ""}},
            "org.ainos.Update.Job": {"job": {**job, "finished": True, "reason": "unsigned"}},
        }
    )
    result = run("models", "add", "--hold", "30", source)
    assert (result.code, server.calls[0]) == (
        1,
        ("org.ainos.Update.AddModel", {**asked, "hold_s": 30.0}),
    )
    assert "add model speech: unsigned" in result.err


def test_verify_takes_all_models_in_turn(run: Run, serve: Serve) -> None:
    model = {"kind": "model", "state": "admitted", "digest": "", "signer": "", "path": ""}
    models: list[dict[str, object]] = [
        {**model, "name": name, "reason": "", "files": []} for name in ("a", "b")
    ]
    server = serve(
        {
            "org.ainos.Store.Models": {"models": models},
            "org.ainos.Store.Verify": work(finished=True),
        }
    )
    assert run("models", "verify").code == 0
    asked = [parameters["name"] for method, parameters in server.calls if "Verify" in method]
    assert asked == ["a", "b"]


def test_remove_and_gc(run: Run, serve: Serve) -> None:
    server = serve(
        {
            "org.ainos.Store.Remove": {},
            "org.ainos.Store.Collect": {"objects": 2, "bytes": 3 << 20},
        }
    )
    assert run("models", "remove", "a", "b").code == 0
    assert [parameters["name"] for _, parameters in server.calls] == ["a", "b"]
    assert run("models", "gc").out == "2 objects, 3.0M\n"


def test_the_digest_of_files_needs_no_machine(run: Run, tmp_path: Path) -> None:
    """Whatever the order in which they are given; that of one file is its fs-verity digest."""
    found = {}
    for name in ("a.safetensors", "b.json"):
        (tmp_path / name).write_text(name)
        found[name] = len(name), fsverity.text(fsverity.digest_file(str(tmp_path / name)))
    first, second = (str(tmp_path / name) for name in found)
    assert run("models", "digest", first).out == f"{found['a.safetensors'][1]}\n"
    for order in ((first, second), (second, first)):
        assert run("models", "digest", *order).out == f"{model_files.digest(found)}\n"


@pytest.mark.parametrize("name", ["same", ".hidden", "a b"])
def test_files_that_no_model_can_have(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    (tmp_path / "same").write_text("x")
    result = run("models", "digest", str(tmp_path / name), str(tmp_path / "same"))
    assert result.code == 1
    assert "is given twice or is no name of a model's file" in result.err
