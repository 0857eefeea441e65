"""Extensions: libraries too large for the slot, as one signed file each beside the models.

An extension is the wheels of one list, laid into a directory and packed as an erofs file. It is
published like a model (`lib.models`): signed, admitted by the store under fs-verity, measured into
PCR 13, and mounted by PID 1 for the agents that name it. docs/adr/0009-extensions.md says why.

    folder = build("cuda", KEYS / "publisher.pem")
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from lib import debian_lock, erofs, models, release, sbom, wheels
from lib.architecture import X86_64
from lib.host import CACHE, HostError, published, published_tree
from lib.layout import MIB, fixed_uuid
from lib.progress import step
from lib.tree import normalise

KIND = "extension"
NAMES = ("cuda", "torch")
OUTPUT = CACHE / "extensions"
# Code whose change means another file: that which lays it out and packs it.
CODE = Path(__file__).parent
RECIPE = ("erofs.py", "extensions.py", "layout.py", "release.py", "sbom.py", "tree.py", "wheels.py")
# Not for running: headers, static libraries, tests, and the programs of compilers.
LEFT_OUT = ("**/include", "**/*.a", "**/*.h", "**/*.pyi", "torch/test", "torch/bin", "nvidia/*/bin")


def lock(name: str) -> Path:
    """Return the list of an extension's wheels. Raises HostError for one that there is not."""
    if name not in NAMES:
        raise HostError(f"there is no extension {name!r}; there are: {', '.join(NAMES)}")
    return wheels.lock_of(f"wheels-{name}", X86_64)


def digest(name: str) -> str:
    """Return what names the result: its list, and the code and the tools that make it."""
    found = hashlib.sha256(lock(name).read_bytes())
    for code in RECIPE:
        found.update((CODE / code).read_bytes())
    tools = [entry.sha256 for entry in debian_lock.read(group="tools")]
    found.update(json.dumps([release.version(), release.epoch(), tools]).encode())
    return found.hexdigest()[:16]


def build(name: str, key: Path, output: Path = OUTPUT) -> Path:
    """Return the directory of a published extension, made when its list or its making changed.

    With a new one goes what ``output`` holds and nothing would take any more: it is gigabytes. The
    caller holds `exclusive`. Raises HostError.
    """
    image = output / digest(name) / f"{name}.erofs"
    if not key.exists():  # before gigabytes are downloaded and packed
        raise HostError(f"{key} is missing; `secureboot/keys` makes it")
    if not image.exists():
        with step(f"wheels of {name}") as progress:
            found = wheels.download(lock(name), wheels.guest(X86_64))
            progress.note(f"{len(found)}, {sum(each.stat().st_size for each in found) // MIB} MiB")
        with step(f"extension {name}") as progress, published_tree(image.parent) as folder:
            pack(found, folder / image.name)
            progress.note(f"{(folder / image.name).stat().st_size // MIB} MiB")
        current = {digest(each) for each in NAMES}
        for path in output.iterdir():
            if path.name not in current:
                shutil.rmtree(path)
    return models.publish(image, models.Record(name, KIND, image.name), key)


def pack(found: list[Path], image: Path) -> None:
    """Lay wheels into a directory and pack it, with the list of what is in it."""
    image.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        root = Path(folder) / "root"
        root.mkdir()
        for wheel in found:
            wheels.lay(wheel, root)
        for pattern in LEFT_OUT:
            for path in list(root.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        with published(root / "sbom.cdx.json") as file:
            file.write_text(sbom.document([sbom.wheel(wheels.inspect(wheel)) for wheel in found]))
        normalise(root)
        erofs.build(root, image, fixed_uuid(f"extension {image.stem}"), erofs.FAST)
