"""The recovery key: 256 random bits in letters that every keyboard has in the same place.

The letters are those of modhex, in groups, as other systems write theirs. PURE.

>>> text(bytes(32))[:17]
'cccccccc-cccccccc'
"""

from __future__ import annotations

from ..errors import RefusedError

BYTES = 32
_LETTERS = "cbdefghijklnrtuv"
_GROUP = 8


def text(key: bytes) -> str:
    """The key as its owner writes it down."""
    letters = "".join(_LETTERS[byte >> 4] + _LETTERS[byte & 15] for byte in key)
    return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))


def normalised(typed: str) -> bytes:
    """What opens the slot, from what was typed. Raises RefusedError when it is no such key."""
    letters = "".join(typed.split()).replace("-", "").lower()
    if len(letters) != 2 * BYTES or set(letters) - set(_LETTERS):
        groups = 2 * BYTES // _GROUP
        raise RefusedError(f"a recovery key is {groups} groups of {_GROUP} letters of {_LETTERS}")
    digits = [_LETTERS.index(letter) for letter in letters]
    key = bytes(high << 4 | low for high, low in zip(digits[::2], digits[1::2], strict=True))
    return text(key).encode("ascii")
