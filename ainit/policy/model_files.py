"""A model that is several files: how they may be called, how many there may be, and the one digest
that stands for all of them. PURE.

What is measured, logged, predicted and signed for by the machine is one digest a model. That of a
model of one file is the file's fs-verity digest. That of several is SHA-256 over the canonical JSON
of a type and the list of (name, bytes, fs-verity digest), in the order of the names:

* *One list has one text.* Names are plain and unique, the order is theirs, canonical JSON has one
  way to write it. So the same digest means the same files under the same names: one exchanged with
  another, one more, one fewer, or one renamed gives another digest.
* *Nothing else has this text.* An fs-verity digest is taken over a structure that begins with the
  bytes 1 and 1, and not with ``{``; events and statements of the machine have other types. So no
  file can be made that has the digest of a list, nor the reverse.
* *It is computed, not believed.* PID 1 and the store make it from what the kernel says of each open
  file. The size is implied by the file's digest; it is in the list for people who compare.

Shards lie side by side, as publishers deliver them: a name is one component, never a path.

>>> digest({"a": (1, "sha256:00"), "b": (2, "sha256:01")})[:15]
'sha256:2a7ae2c5'
>>> digest({"model.onnx": (4, "sha256:00")})
'sha256:00'
"""

from __future__ import annotations

from ..digest import sha256
from ..wire.codec import canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FILES_MAX = 200  # Llama 3.1 405B has 197; each is open, and mounted, for a unit that uses it
NAME_BYTES_MAX = 255
_TYPE = "ainos-model-files-1"
_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+.")


def is_file(text: str) -> bool:
    """Whether ``text`` may be a model file's name: one plain component, not hidden."""
    return 0 < len(text) <= NAME_BYTES_MAX and text[0] not in ".-" and set(text) <= _CHARACTERS


def digest(files: Mapping[str, tuple[int, str]]) -> str:
    """The digest (``sha256:<hex>``) of a model of these files: bytes and fs-verity digest (written
    likewise) by name.
    """
    if len(files) == 1:
        ((_, only),) = files.values()
        return only
    listed = [[name, *files[name]] for name in sorted(files)]
    return "sha256:" + sha256(canonical({"type": _TYPE, "files": listed})).hex()
