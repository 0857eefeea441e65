from __future__ import annotations

import json
import os
import struct
import tempfile
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ainit.errors import RefusedError
from ainit.store import formats
from tests.support.store import INDEX, external, field, onnx, shards, varint


def check(content: bytes, name: str) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        formats.check({name: file.fileno()})


def safetensors(table: object, data: bytes = b"") -> bytes:
    header = json.dumps(table).encode()
    return struct.pack("<Q", len(header)) + header + data


def tensor(start: int, end: int) -> dict[str, object]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}


def model(graph: bytes) -> bytes:
    return field(1, 10) + field(7, graph) + field(8, b"")


def gguf(version: int = 3, tensors: int = 0, entries: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + rest


EXTERNAL = field(13, field(1, b"location"))
SPARSE = field(1, EXTERNAL)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (onnx(), "model.onnx"),
        (onnx(bytes(100_000)), "model.onnx"),
        (safetensors({"__metadata__": {"format": "pt"}}), "a.safetensors"),
        (safetensors({"b": tensor(2, 5), "a": tensor(0, 2)}, b"12345"), "a.safetensors"),
        (gguf(), "a.gguf"),
        (gguf(2, 1, 1, bytes(36)), "a.gguf"),
        (bytes(1024) + bytes.fromhex("e2e1f5e0") + bytes(100), "a.erofs"),
    ],
)
def test_complete_files_pass(content: bytes, name: str) -> None:
    check(content, name)


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"\x80\x02}q\x00.", "model.onnx", "format pickle .* runs code"),
        (b"PK\x03\x04rest", "model.safetensors", "format zip .* may run code"),
        (b"anything", "model.bin", r"format \.bin refused"),
        (bytes(4096), "a.erofs", "format erofs refused .*no superblock"),
        (b"anything", "model", "format without a suffix refused"),
        (b"", "model.onnx", "no ONNX version"),
        (b"plain text, not a model", "model.onnx", "format onnx refused"),
        (onnx()[:-1], "model.onnx", "cut off"),
        (field(1, 10), "model.onnx", "holds no graph"),
        (field(1, 99) + onnx()[2:], "model.onnx", "no ONNX version"),
        (onnx() + field(7, b""), "model.onnx", "holds no graph"),
        (b"\xff" * 11, "model.onnx", "cut off"),
        (model(field(5, EXTERNAL)), "model.onnx", "weights in other files"),
        (model(field(5, field(14, 1))), "model.onnx", "weights in other files"),
        (model(field(1, field(5, field(5, EXTERNAL)))), "model.onnx", "weights in other files"),
        (model(field(1, field(5, field(6, field(5, EXTERNAL))))), "model.onnx", "in other files"),
        (model(field(15, SPARSE)), "model.onnx", "weights in other files"),
        (model(field(1, field(5, field(23, SPARSE)))), "model.onnx", "weights in other files"),
        (onnx() + field(25, field(7, field(5, field(10, EXTERNAL)))), "m.onnx", "in other files"),
        (struct.pack("<Q", 1 << 40) + b"{}", "a.safetensors", "table is longer"),
        (struct.pack("<Q", 2) + b"no", "a.safetensors", "not JSON"),
        (safetensors([]), "a.safetensors", "no object"),
        (safetensors({"a": {}}), "a.safetensors", "tensor a has no valid place"),
        (safetensors({"a": tensor(0, 4)}, b"123"), "a.safetensors", "cut off"),
        (safetensors({"a": tensor(0, 1)}, b"123"), "a.safetensors", "data after the last"),
        (safetensors({"a": tensor(0, 2), "b": tensor(1, 3)}, b"123"), "a.safetensors", "overlap"),
        (b"GGUF", "a.gguf", "does not start as one"),
        (gguf(1), "a.gguf", "its version is 1"),
        (gguf(3, 1 << 40), "a.gguf", "promises more"),
        (gguf(3, 1), "a.gguf", "promises more"),
    ],
)
def test_anything_else_is_refused_with_the_reason(content: bytes, name: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        check(content, name)


def test_graphs_may_not_be_nested_without_end() -> None:
    graph = b""
    for _ in range(600):
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(RefusedError, match="nested too deeply"):
        check(model(graph), "model.onnx")


@given(
    content=st.binary(max_size=64) | st.binary(max_size=64).map(lambda rest: onnx() + rest),
    suffix=st.sampled_from([".onnx", ".safetensors", ".gguf"]),
)
def test_any_bytes_pass_or_are_refused(content: bytes, suffix: str) -> None:
    with suppress(RefusedError):
        check(content, "model" + suffix)


def test_only_the_skeleton_is_read(tmp_path: os.PathLike[str]) -> None:
    """A hole of a terabyte in the weights costs nothing."""
    weights = 1 << 40
    raw = varint(9 << 3 | 2) + varint(weights)
    initializer = varint(5 << 3 | 2) + varint(len(raw) + weights) + raw
    start = field(1, 10) + field(8, b"") + varint(7 << 3 | 2)
    start += varint(len(initializer) + weights) + initializer
    path = os.path.join(tmp_path, "model.onnx")
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(len(start) + weights)
    with open(path, "rb") as file:
        formats.check({"model.onnx": file.fileno()})


def check_all(files: dict[str, bytes]) -> None:
    with ExitStack() as stack:
        opened = {}
        for name, content in files.items():
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(content)
            file.flush()
            opened[name] = file.fileno()
        formats.check(opened)


PARTS = {f"m-{number:05}-of-00002.gguf": gguf() for number in (1, 2)}
DATA = {"model.onnx": external("model.onnx.data", length=4), "model.onnx.data": b"1234"}


@pytest.mark.parametrize(
    "files",
    [
        shards(),
        {**shards(), "tokenizer.json": b"[1, 2]"},
        {"model.safetensors": safetensors({}), "config.json": b"{}"},
        PARTS,
        {**PARTS, "config.json": b"{}"},
        DATA,
        {**DATA, "tokenizer.json": b'"x"', "decoder.onnx": onnx()},
        {"a.onnx": external("w.bin"), "b.onnx": external("w.bin"), "w.bin": b""},
    ],
)
def test_files_that_belong_together_pass(files: dict[str, bytes]) -> None:
    check_all(files)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            {**shards(), "x.json": b"\x80\x04pickle"},
            r"x\.json: format pickle refused because loading",
        ),
        ({**shards(), "x.json": b"PK\x03\x04"}, r"x\.json: format zip refused"),
        ({**shards(), "pytorch_model.bin": b"\x80\x02x"}, r"pytorch_model\.bin: format pickle"),
        ({**DATA, "model.onnx.data": b"\x80\x04xx"}, r"model\.onnx\.data: format pickle refused"),
        ({**shards(), "x.json": b"{"}, r"x\.json: format json refused because it is none"),
        ({**shards(), "modeling.py": b"import os"}, r"modeling\.py: format \.py refused"),
        ({**shards(), "README.md": b"text"}, r"README\.md: format \.md refused .* nor JSON"),
        ({**DATA, "more.data": b"x"}, r"more\.data: format \.data refused"),
        (
            {**DATA, "model.onnx.data": b"123"},
            r"model\.onnx: .* beyond the end of model\.onnx\.data",
        ),
        ({**DATA, "model.onnx": external("config.json"), "config.json": b"{}"}, "nobody measured"),
        ({"a.onnx": external("b.onnx"), "b.onnx": onnx()}, r"a\.onnx: .* nobody measured"),
        (
            {**shards(), "model.gguf": gguf()},
            r"several formats in one model: \.safetensors, \.gguf",
        ),
        ({"a.json": b"{}", "b.json": b"{}"}, r"a\.json: format \.json refused"),
        ({"a.onnx": onnx(), "b.onnx": b"no"}, r"b\.onnx: format onnx refused"),
        ({name: data for name, data in shards().items() if name != INDEX}, "without a .safetens"),
        ({**PARTS, "m-00003-of-00003.gguf": gguf()}, "not parts of one"),
        ({**DATA, INDEX: b'{"weight_map": {"x": "model.onnx"}}'}, "is no safetensors file here"),
    ],
)
def test_files_that_do_not_are_refused_by_name(files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        check_all(files)


def test_a_json_file_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "JSON_BYTES_MAX", 1)
    with pytest.raises(RefusedError, match="format json refused because it is longer than"):
        check_all(shards())


@given(content=st.binary(max_size=64), name=st.sampled_from(["w", INDEX, "x.json", "b.onnx"]))
def test_any_bytes_beside_a_model_pass_or_are_refused(content: bytes, name: str) -> None:
    with suppress(RefusedError):
        check_all({"model.onnx": external("w"), "w": b"", name: content})
    with suppress(RefusedError):
        check_all({**shards(), name: content})
