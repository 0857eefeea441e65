"""A machine configuration on the disk that an image is written to.

It is checked by the machine's own parser before anything is written, and put into the file system
of the state partition without mounting that. A disk whose state is to be sealed has none yet.

    text = checked(Path("machine.toml"))
    put(target, image, text)            # behind the data, before the partition table
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ainit.child.compile import read
from ainit.errors import ConfigError
from ainit.policy import config
from lib import state_partition
from lib.flash import Image
from lib.flash_target import Target
from lib.host import HostError

FILE = "/config/machine.toml"
_EXT4 = (1024 + 56, b"\x53\xef")


def checked(path: Path) -> str:
    """The text of a machine configuration. Raises HostError with every finding."""
    try:
        text = read(path)
        _, findings = config.machine(text, str(path))
        if findings:
            raise ConfigError(findings)
    except ConfigError as error:
        raise HostError(str(error)) from None
    return text


def check_room(image: Image) -> None:
    """Raise HostError unless the image's state can take a file."""
    at, magic = _EXT4
    with image.disk.open("rb") as file:
        file.seek(_start(image) + at)
        if file.read(len(magic)) != magic:
            raise HostError(
                f"the state of {image.disk} is made at the first boot, so nothing can be "
                "put on it: put machine.toml into the image, or on a stick called AINOSCONFIG"
            )


def put(target: Target, image: Image, text: str) -> None:
    """Put the file on a disk that has its data, and read it back. Raises HostError."""
    start = _start(image)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        Path(file.name).chmod(0o644)
        state_partition.debugfs(target.path, f"write {file.name} {FILE}", start)
    target.flush()
    if state_partition.debugfs(target.path, f"cat {FILE}", start) != text:
        raise HostError(f"{target.path}: machine.toml reads back other than it was written")


def _start(image: Image) -> int:
    return next(each.start for each in image.table.partitions if each.name == "state")
