"""What the tests of the model store share: keys, signatures, models, and a fake fs-verity."""

from __future__ import annotations

import base64
import errno
import json
import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ainit.errors import NotCoveredError
from ainit.linux import fsverity
from ainit.store import signature
from ainit.store.admission import Store
from ainit.store.keys import EllipticKey

Statement = dict[str, object]


class FakeCover:
    """fs-verity in memory: it knows digests by inode and refuses to read what changed since."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, int], bytes] = {}
        self._open: list[int] = []  # an inode that is open is not given to another file
        self.available = True
        self.meanwhile: Callable[[], object] = lambda: None  # while the digest is made

    def enable(self, descriptor: int) -> None:
        if not self.available:
            raise NotCoveredError("fs-verity is not available here (Operation not supported)")
        self.meanwhile()
        self._open.append(os.dup(descriptor))
        self._digests.setdefault(_inode(descriptor), _digest(descriptor))

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def measure(self, descriptor: int) -> bytes:
        try:
            return self._digests[_inode(descriptor)]
        except KeyError:
            raise NotCoveredError("not covered by fs-verity (No data available)") from None

    def read(self, descriptor: int, size: int) -> bytes:
        if _digest(descriptor) != self._digests.get(_inode(descriptor), _digest(descriptor)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.read(descriptor, size)


def _inode(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _digest(descriptor: int) -> bytes:
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    view = memoryview(content)

    def read(size: int) -> bytes:
        nonlocal view
        chunk, view = bytes(view[:size]), view[size:]
        return chunk

    return fsverity.digest_stream(read, len(content))


class Publisher:
    """Somebody who signs models."""

    def __init__(self, name: str = "acme", curve: ec.EllipticCurve | None = None) -> None:
        self.name = name
        self.private = ec.generate_private_key(curve or ec.SECP256R1())
        self.key = EllipticKey(name, self.private.public_key())
        self.keys = {self.key.hint: self.key}

    def write(self, directory: Path) -> tuple[Path, Path]:
        """The private and the public key as PEM files."""
        private, public = directory / f"{self.name}.key", directory / f"{self.name}.pem"
        private.write_bytes(
            self.private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        public.write_bytes(
            self.private.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return private, public

    def sign(
        self,
        model: str,
        contents: Mapping[str, bytes],
        change: Callable[[Statement], None] = lambda _: None,
    ) -> bytes:
        """A signature file over ``contents``; ``change`` edits the statement before that."""
        payload = self.statement(model, contents, change)
        framed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
        return json.dumps(
            {
                "mediaType": signature.BUNDLE_TYPE,
                "verificationMaterial": {"publicKey": {"hint": self.key.hint}},
                "dsseEnvelope": {
                    "payload": base64.b64encode(payload).decode(),
                    "payloadType": signature.PAYLOAD_TYPE,
                    "signatures": [{"sig": base64.b64encode(self._sign(framed)).decode()}],
                },
            }
        ).encode()

    @staticmethod
    def statement(
        model: str,
        contents: Mapping[str, bytes],
        change: Callable[[Statement], None] = lambda _: None,
    ) -> bytes:
        """What is signed over ``contents``."""
        files = [
            {"name": name, "algorithm": "sha256", "digest": sha256(contents[name]).hexdigest()}
            for name in sorted(contents)
        ]
        root = sha256(b"".join(bytes.fromhex(file["digest"]) for file in files)).hexdigest()
        statement: Statement = {
            "_type": signature.STATEMENT_TYPE,
            "subject": [{"name": model, "digest": {"sha256": root}}],
            "predicateType": signature.PREDICATE_TYPE,
            "predicate": {
                "serialization": {"method": "files", "hash_type": "sha256"},
                "resources": files,
            },
        }
        change(statement)
        return json.dumps(statement).encode()

    def _sign(self, data: bytes) -> bytes:
        algorithm = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
        return self.private.sign(data, ec.ECDSA(algorithm[self.private.curve.key_size]))


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protocol-buffer message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """A protocol-buffer variable-length integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def onnx(weights: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A small file with the skeleton of an ONNX model."""
    graph = field(2, b"graph") + field(5, field(8, b"w") + field(9, weights))
    return field(1, 10) + field(7, graph) + field(8, field(2, 21))


def deliver(
    root: Path,
    publisher: Publisher | None,
    name: str = "speech",
    *,
    content: bytes | None = None,
    kind: str = "model",
    file: str = "model.onnx",
) -> Path:
    """Put a model into the store's incoming folder, signed unless there is no publisher."""
    directory = root / "incoming" / name
    directory.mkdir(parents=True)
    record = json.dumps({"name": name, "kind": kind, "file": file}).encode()
    content = onnx() if content is None else content
    (directory / file).write_bytes(content)
    (directory / "record.json").write_bytes(record)
    if publisher is not None:
        contents = {"record.json": record, file: content}
        (directory / "model.sig").write_bytes(publisher.sign(name, contents))
    return directory


def safetensors(tensors: Mapping[str, bytes]) -> bytes:
    """A safetensors file with these tensors, of bytes."""
    table, at = {}, 0
    for name, data in tensors.items():
        place = [at, at := at + len(data)]
        table[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": place}
    header = json.dumps(table).encode()
    return len(header).to_bytes(8, "little") + header + b"".join(tensors.values())


INDEX = "model.safetensors.index.json"


def shards(weights: bytes = b"weights", count: int = 3) -> dict[str, bytes]:
    """The files of a model in shards, its index and configuration among them."""
    found, places = {}, {}
    for number in range(1, count + 1):
        name = f"model-{number:05}-of-{count:05}.safetensors"
        places[f"layer{number}"] = name
        found[name] = safetensors({f"layer{number}": weights + b" %d" % number})
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    return {**found, INDEX: json.dumps(index).encode(), "config.json": b'{"layers": 3}'}


def external(*locations: str, **said: int) -> bytes:
    """An ONNX model whose tensors lie in other files; ``said`` has their offset and length."""

    def entry(key: str, value: object) -> bytes:
        return field(13, field(1, key.encode()) + field(2, str(value).encode()))

    graph = b""
    for location in locations:
        where = entry("location", location) + b"".join(entry(*each) for each in said.items())
        graph += field(5, field(8, b"w") + where + field(14, 1))
    return field(1, 10) + field(7, graph) + field(8, field(2, 21))


def deliver_several(
    root: Path,
    publisher: Publisher | None,
    contents: Mapping[str, bytes],
    name: str = "speech",
    *,
    listed: object = None,
    kind: str = "model",
) -> Path:
    """Put a model of several files into the store's incoming folder, signed as a whole. Its record
    lists them, or what is told.
    """
    directory = root / "incoming" / name
    directory.mkdir(parents=True)
    files = sorted(contents) if listed is None else listed
    record = json.dumps({"name": name, "kind": kind, "files": files}).encode()
    for file, content in {**contents, "record.json": record}.items():
        (directory / file).write_bytes(content)
    if publisher is not None:
        signature_ = publisher.sign(name, {**contents, "record.json": record})
        (directory / "model.sig").write_bytes(signature_)
    return directory


class FakeSeal:
    """A machine that signs; every machine has another key."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def make(self, text: bytes) -> str:
        chosen = os.urandom(8)  # as with ECDSA, no two signatures are the same
        return (chosen + sha256(self._key + chosen + text).digest()).hex()

    def holds(self, text: bytes, signature: str) -> bool:
        data = bytes.fromhex(signature)
        return data[8:] == sha256(self._key + data[:8] + text).digest()


def store(
    root: Path, cover: FakeCover, publisher: Publisher, seal: FakeSeal | None = None, **more: object
) -> Store:
    """The store under test."""
    if seal is not None:
        more["seal"] = seal
    return Store(str(root), cover, publisher.keys, **more)  # type: ignore[arg-type]
