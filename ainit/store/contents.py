"""The files of one model, open: covered by fs-verity, measured and hashed through one descriptor
each, so that nobody can change one in between.

    with opened_all(directory, record.files, cover) as contents:
        contents.enable()
        contents.digest()
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from ..child.given import opened
from ..errors import RefusedError
from ..linux import fsverity
from ..policy import model_files

if TYPE_CHECKING:
    from .cover import Cover

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Contents:
    """Open descriptors by name. Methods raise RefusedError or OSError, which name the file."""

    cover: Cover
    files: Mapping[str, int]

    def enable(self) -> None:
        """Cover each, and have it on the disk."""
        for name, descriptor in self.files.items():
            with self._about(name):
                self.cover.enable(descriptor)
                os.fsync(descriptor)

    def digest(self) -> str:
        """The one digest of all (hex), from what the kernel holds each to."""
        found = {}
        for name, descriptor in self.files.items():
            with self._about(name):
                digest = fsverity.text(self.cover.measure(descriptor))
                found[name] = os.fstat(descriptor).st_size, digest
        return model_files.digest(found).removeprefix("sha256:")

    def size(self) -> int:
        """Bytes in all."""
        return sum(os.fstat(descriptor).st_size for descriptor in self.files.values())

    def altered(self, signed: Mapping[str, str]) -> str:
        """The first file, each read completely, whose SHA-256 (hex) is not the signed one."""
        for name, descriptor in self.files.items():
            with self._about(name):
                if self._hash(descriptor) != signed[name]:
                    return name
        return ""

    def _hash(self, descriptor: int) -> str:
        state = sha256()
        os.lseek(descriptor, 0, os.SEEK_SET)
        while chunk := self.cover.read(descriptor, _CHUNK):
            state.update(chunk)
        return state.hexdigest()

    @contextmanager
    def _about(self, name: str) -> Iterator[None]:
        """What goes wrong in here goes wrong with this file: one of several is named."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or name
            raise
        except RefusedError as error:
            if len(self.files) == 1:
                raise
            raise RefusedError(f"{name}: {error}") from error


@contextmanager
def opened_all(directory: str, names: Collection[str], cover: Cover) -> Iterator[Contents]:
    """The files of these names in a directory. Raises RefusedError or OSError, see ``opened``."""
    with ExitStack() as stack:
        files = {name: stack.enter_context(opened(f"{directory}/{name}")) for name in names}
        yield Contents(cover, files)


def link_over(file: str, descriptor: int, source: str, target: str) -> None:
    """Give an open file of ``source`` a link in ``target`` too, moved over what is there: that
    repairs an object that went bad. Whoever may open it (which the kernel judges) can read it.

    Raises RefusedError when the name is no longer that of the open file, and OSError.
    """
    link = f"{target}/.{file}.new"
    _remove(link)
    os.link(f"{source}/{file}", link, follow_symlinks=False)
    if not os.path.samestat(os.lstat(link), os.fstat(descriptor)):
        raise RefusedError(f"{file} was exchanged while it was verified")
    os.fchmod(descriptor, 0o444)  # units run as users of their own, and open it by its name
    os.rename(link, f"{target}/{file}")
    _remove(link)  # rename(2) leaves it when both are links to the same file already


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
