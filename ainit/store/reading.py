"""Why a model cannot be used, in words for whoever operates the machine."""

from __future__ import annotations

import errno
import os


def reason(error: Exception) -> str:
    """Why a model is refused."""
    if isinstance(error, OSError):
        name = os.path.basename(str(error.filename or "")) or "the file"
        match error.errno:
            case errno.EIO | errno.EUCLEAN | errno.EBADMSG:
                return f"altered: a page of {name} does not match its fs-verity digest"
            case errno.ENOENT:
                return f"altered: {name} is missing"
            case _:
                return f"{name} cannot be used: {error.strerror or error}"
    if isinstance(error, UnicodeError):
        return "altered: text that is not UTF-8"
    return str(error)
