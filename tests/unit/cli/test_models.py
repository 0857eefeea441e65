"""``ainitctl models``: admitted and refused."""

from __future__ import annotations

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
