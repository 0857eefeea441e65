"""Whole releases of an image under other versions, on the host, and a server that offers them.

with Shop(image, directory) as shop:
    shop.publish("9.0.0")
    Hardware(reached=(shop.reached,))
"""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lib import (
    assembly,
    bundle,
    drive,
    erofs,
    prediction,
    product,
    release_files,
    release_keys,
    release_repository,
    release_root,
    tools,
    verity,
)
from lib.host import run, sha256_file
from lib.layout import EROFS_UUID
from lib.prediction import SECUREBOOT
from lib.release_repository import Repository
from lib.tree import compile_python
from lib.variant import architecture_of

from ainit.ota.pe import Image

ADDRESS, PORT = "10.0.2.100", 80  # what the guest asks
CHANNEL = "edge"

Edit = Callable[[Path], None]


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves a directory, and ranges of its files."""

    def do_GET(self) -> None:
        path, asked = Path(self.translate_path(self.path)), self.headers.get("Range", "")
        if not asked or not path.is_file():
            super().do_GET()
            return
        begin, _, end = asked.removeprefix("bytes=").partition("-")
        size = path.stat().st_size
        first, last = int(begin), min(int(end or size - 1), size - 1)
        self.send_response(http.HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            self.wfile.write(file.read(last - first + 1))

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base's name
        pass


class Shop:
    """A repository with the root that images carry, served to the guest."""

    def __init__(self, image: Path, directory: Path) -> None:
        self._image = image
        self._directory = directory
        self._tree = directory / "tree"
        self._served = directory / "repository"
        self._served.mkdir(parents=True)
        handler = partial(_Ranges, directory=str(self._served))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def reached(self) -> tuple[str, int, int]:
        """For `Hardware`."""
        return ADDRESS, PORT, self._server.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, version: str, edit: Edit = lambda tree: None) -> None:
        """Make a release of this version, its root tree edited, and publish it."""
        ring = release_keys.development()
        directory = self._made(version, edit)
        wanted = release_files.Wanted(version, directory)
        built = release_files.build(wanted, self._directory / "release", ring)
        repository = Repository(self._served, ring, datetime.now(UTC))
        release_root.begin(repository, release_keys.FIRST_ROOT)
        release_repository.publish(repository, [built], CHANNEL)

    def _made(self, version: str, edit: Edit) -> Path:
        """The files of an image: everything but the disk."""
        out = self._directory / f"image-{version}"
        out.mkdir()
        old: dict[str, Any] = drive.manifest(self._image)
        tree = self._edited(old["version"], version, edit)
        erofs.build(tree, out / "root.erofs", EROFS_UUID)
        hashes = verity.build(out / "root.erofs", out / "root.verity", version)
        architecture = architecture_of(self._image)
        kernel, unsigned = out / "kernel", out / "uki.unsigned.efi"
        kernel.write_bytes(Image((self._image / "uki.efi").read_bytes()).sections[".linux"])
        words = verity.command_line(hashes, architecture)
        assembly.build_uki(assembly.Inputs(tree, kernel, ()), words, unsigned)
        run([str(SECUREBOOT / "sign"), str(unsigned), str(out / "uki.efi")])
        loader = Path(architecture.boot_loader).name
        for name in (loader, assembly.SBOM):
            shutil.copyfile(self._image / name, out / name)
        manifest = {**old, "version": version, "root": {}, "cmdline": words}
        manifest["root"] = {
            "hash": hashes.root_hash,
            "salt": hashes.salt,
            "data_blocks": hashes.data_blocks,
        }
        variables = self._image / architecture.store
        manifest |= prediction.predict(out / loader, out / "uki.efi", variables, manifest)
        manifest["seal"] = prediction.approve(manifest, out / assembly.APPROVAL, version, 1)
        manifest["files"] = {
            path.name: {"sha256": sha256_file(path), "size": path.stat().st_size}
            for path in (out / name for name in assembly.LISTED)
        }
        (out / assembly.MANIFEST).write_text(json.dumps(manifest))
        run([str(SECUREBOOT / "vouch"), str(out / assembly.MANIFEST)])
        return out

    def _edited(self, old: str, version: str, edit: Edit) -> Path:
        """The root tree of the image, of another version."""
        if not self._tree.exists():
            extract = f"--extract={self._tree}"
            run([*tools.command("fsck.erofs"), extract, str(self._image / "root.erofs")])
        tree = self._directory / f"tree-{version}"
        run(["cp", "--archive", str(self._tree), str(tree)])
        package = tree / product.PACKAGE
        for path in (package / "ainit/__init__.py", tree / "usr/lib/os-release"):
            path.write_text(path.read_text().replace(old, version))
        compile_python(tree, [product.PACKAGE])
        bundle.write(tree)
        edit(tree)
        return tree
