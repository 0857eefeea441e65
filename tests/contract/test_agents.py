"""The agents with their real models, started as by PID 1, against the models' own packages."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from magika import Magika

from ainit.child.client import VarlinkError
from tests.support import models
from tests.support.service import REPOSITORY, Service

AGENTS = REPOSITORY / "rootfs-overlay/usr/lib/ainos/agents"
SPEECH = REPOSITORY / "tests/data/speech.wav"


def bundle(name: str, folder: Path) -> Path:
    """The agent as the image builder packs it, its data in place."""
    copy = folder / "bundle"
    shutil.copytree(AGENTS / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def filetype(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("filetype")
    copy = bundle("filetype", folder)
    (copy / "data").mkdir()
    models.extract(models.MAGIKA_CONFIG, copy / "data")
    models.extract(models.MAGIKA_KNOWLEDGE, copy / "data")
    model = models.extract(models.MAGIKA, folder)
    with Service(copy, folder, models={"magika": model}) as service:
        yield service


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("speech")
    model = models.extract(models.SILERO, folder)
    with Service(bundle("speech", folder), folder, models={"silero-vad": model}) as service:
        yield service


@pytest.fixture(scope="module")
def magika() -> Magika:
    return Magika()


def _archive(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        archive.add(__file__, arcname="test.py")
    return buffer.getvalue()


def _zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(__file__, arcname=name)
    return buffer.getvalue()


def _sqlite() -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE models (name TEXT PRIMARY KEY, digest BLOB)")
        content = connection.serialize()
    connection.close()
    return content


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    rows = b"".join(b"\0" + bytes((x * y) % 256 for x in range(32 * 3)) for y in range(32))
    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(100.0).reshape(10, 10))
    return buffer.getvalue()


def _text(path: str) -> bytes:
    return (REPOSITORY / path).read_bytes()


SAMPLES: dict[str, bytes] = {
    "empty": b"",
    "seven bytes": b"1234567",
    "seven bytes, binary": b"\xff\xfe\x00\x01\x02\x03\x04",
    "white space": b" \n\t" * 5000,
    "little in much white space": b" " * 3000 + b"hi" + b"\n" * 3000,
    "one word": b"hello, world",
    "python": Path(__file__).read_bytes(),
    "large python": _text("ainit/store/admission.py") * 20,
    "toml": _text("rootfs-overlay/usr/lib/ainos/machine.toml"),
    "short shell": b"#!/bin/sh\nset -eu\nfor f in *; do echo $f; done\n",
    "markdown": _text("tests/data/README.md"),
    "json": json.dumps({"models": [{"name": "speech", "state": "admitted"}]}, indent=2).encode(),
    "jsonl": b"".join(json.dumps({"n": n, "sq": n * n}).encode() + b"\n" for n in range(40)),
    "csv": b"name,size,digest\n" + b"".join(b"m%d,%d,ab%d\n" % (n, n * 7, n) for n in range(50)),
    "c": b'#include <stdio.h>\nint main(void)\n{\n\tputs("hello");\n\treturn 0;\n}\n',
    "c++": b"#include <vector>\ntemplate <class T> class A {\n public:\n  std::vector<T> v;\n};\n",
    "rust": b'use std::io;\nfn main() -> io::Result<()> {\n    println!("hi");\n    Ok(())\n}\n',
    "go": b'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hi")\n}\n',
    "java": b"package a;\nimport java.util.List;\npublic class B {\n  private List<String> c;\n}\n",
    "javascript": b"const a = require('fs');\nmodule.exports = async () => { await a.b(); };\n" * 3,
    "html": b"<!DOCTYPE html>\n<html><head><title>t</title></head><body><p>x</p></body></html>\n",
    "css": b"body { margin: 0; }\n.a > .b:hover { color: #fff; display: flex; }\n" * 4,
    "xml": b'<?xml version="1.0" encoding="UTF-8"?>\n<a xmlns="urn:x"><b c="d">e</b></a>\n',
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9"/></svg>',
    "sql": b"CREATE TABLE a (b INTEGER PRIMARY KEY, c TEXT);\nSELECT b FROM a WHERE c LIKE 'x%';\n",
    "yaml": b"services:\n  web:\n    image: nginx\n    ports:\n      - 80:80\nversion: '3'\n",
    "ini": b"[section]\nkey = value\nother = 2\n\n[more]\npath = /usr/lib\n",
    "makefile": b"all: a.o\n\tcc -o $@ $<\n\n%.o: %.c\n\tcc -c $<\n.PHONY: all clean\n",
    "diff": b"--- a/x.c\n+++ b/x.c\n@@ -1,3 +1,3 @@\n a\n-b\n+c\n d\n",
    "pem": b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(range(256)) * 3)
    + b"-----END CERTIFICATE-----\n",
    "latex": b"\\documentclass{article}\n\\begin{document}\n$a^2$ \\section{One}\\end{document}\n",
    "elf": Path(sys.executable).resolve().read_bytes()[: 1 << 20],
    "sqlite": _sqlite(),
    "png": _png(),
    "npy": _npy(),
    "wav": SPEECH.read_bytes(),
    "gzip": gzip.compress(Path(__file__).read_bytes(), mtime=0),
    "tar": _archive("w"),
    "tar.xz": _archive("w:xz"),
    "tar.bz2": _archive("w:bz2"),
    "zip": _zip("test.py"),
    "jar": _zip("META-INF/MANIFEST.MF", "a/B.class"),
    "pyc": Path(json.__spec__.cached or "").read_bytes(),
    "pdf": b"%PDF-1.4\n1 0 obj\n<</Type/Catalog>>\nendobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
    "onnx": models.member(models.SILERO),
    "noise": np.random.default_rng(7).bytes(20_000),
    "zeros": bytes(20_000),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_filetype_answers_what_the_package_answers(
    filetype: Service, magika: Magika, name: str
) -> None:
    content = SAMPLES[name]
    reference = magika.identify_bytes(content)
    answer = filetype.call(
        "org.ainos.agent.FileType.Identify", content=base64.b64encode(content).decode()
    )
    output = reference.output
    assert (answer["label"], answer["description"], answer["mime_type"], answer["group"]) == (
        str(output.label),
        output.description,
        output.mime_type,
        output.group,
    )
    assert answer["score"] == pytest.approx(reference.score, abs=1e-5)
    assert isinstance(answer["latency_ms"], float)


def test_filetype_refuses_what_is_not_base64(filetype: Service) -> None:
    for wrong in ("not base64!", 5, None):
        with pytest.raises(VarlinkError, match=r"InvalidParameter\(parameter=content\)"):
            filetype.call("org.ainos.agent.FileType.Identify", content=wrong)


def pcm() -> bytes:
    with wave.open(str(SPEECH)) as file:
        return bytes(file.readframes(file.getnframes()))


def detect(service: Service, sound: bytes) -> dict[str, object]:
    audio = base64.b64encode(sound).decode()
    return service.call("org.ainos.agent.Speech.Detect", audio=audio)


def test_speech_is_heard_where_it_is(speech: Service) -> None:
    answer = detect(speech, pcm())
    assert answer["speech"] is True
    # What silero-vad 6.2.3 itself answers, in samples: 7712 to 23520, 30240 to 48608.
    assert answer["segments"] == [{"start": 0.482, "end": 1.47}, {"start": 1.89, "end": 3.038}]


def streamed(sound: bytes) -> list[float]:
    """The reference: the package's streaming model, frame by frame."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(models.member(models.SILERO_STREAMING), options)
    samples = np.frombuffer(sound, np.int16).astype(np.float32) / np.float32(32768)
    samples = np.pad(samples, (0, -samples.size % 512))
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32)
    found = []
    for frame in samples.reshape(-1, 512):
        seen = np.concatenate((context, frame))[None]
        rate = np.array(16000, np.int64)
        out, state = session.run(None, {"input": seen, "state": state, "sr": rate})
        found.append(float(out[0, 0]))
        context = frame[-64:]
    return found


@pytest.mark.parametrize("times", [1, 6])  # six times is more than one call of the model takes
def test_speech_carries_its_memory_as_the_streaming_model_does(speech: Service, times: int) -> None:
    sound = pcm() * times
    found = detect(speech, sound)["probabilities"]
    assert found == pytest.approx(streamed(sound), abs=1e-3)


def tone() -> bytes:
    time = np.arange(32000) / 16000
    return bytes((8000 * np.sin(2 * np.pi * 440 * time)).astype("<i2").tobytes())


def noise() -> bytes:
    return bytes(np.random.default_rng(3).normal(0, 500, 32000).astype("<i2").tobytes())


@pytest.mark.parametrize("sound", [b"", bytes(64000), tone(), noise()])
def test_what_is_no_speech_is_not_heard_as_such(speech: Service, sound: bytes) -> None:
    answer = detect(speech, sound)
    assert (answer["speech"], answer["segments"]) == (False, [])


def test_speech_refuses_what_is_not_sound(speech: Service) -> None:
    for wrong in ("AA==", "AAAA", "?", 5, None):  # one byte, three bytes, no base64 at all
        with pytest.raises(VarlinkError, match=r"InvalidParameter\(parameter=audio\)"):
            speech.call("org.ainos.agent.Speech.Detect", audio=wrong)
    with pytest.raises(VarlinkError, match=r"TooLong\(seconds_max=60\)"):
        detect(speech, bytes(2 * 16000 * 60 + 2))


@pytest.mark.parametrize("name", ["filetype", "speech"])
def test_an_agent_without_its_model_says_so_and_stops(name: str, tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="was not handed over"),
        Service(bundle(name, tmp_path), tmp_path),
    ):
        pass


def test_onnxruntime_keeps_its_telemetry_to_itself(tmp_path: Path) -> None:
    """With the variable that the agents set, nothing is written and no thread is started."""
    code = (
        "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'\n"
        "import onnxruntime\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []
    assert int(done.stdout) <= 2


def test_the_crasher_crashes() -> None:
    command = [sys.executable, "-I", "-S", "."]
    done = subprocess.run(
        command, cwd=AGENTS / "crasher", capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (3, b"crasher: about to exit with status 3\n")
