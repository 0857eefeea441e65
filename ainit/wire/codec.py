"""JSON for PID 1 and everybody it talks to.

The standard ``json`` package imports ``re`` and ``enum``, which doubles PID 1's start-up time. Its
C accelerator ``_json`` needs neither, so this module drives that directly. Leaves out: options.

>>> dumps({"b": 1, "a": [True, None]})
'{"b":1,"a":[true,null]}'
>>> canonical({"b": 1, "a": 2})
b'{"a":2,"b":1}'
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SPACE = " \t\n\r"
_INFINITE = float("inf")


def _constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (_INFINITE, -_INFINITE):
        raise ValueError(f"{text} is too large a number")
    return value


class _Context:
    """What the C scanner reads its settings from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = staticmethod(_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 - the C scanner clears it after each call


_scan = make_scanner(_Context())  # type: ignore[arg-type]  # any object with these attributes


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
_encode_sorted = make_encoder(
    None, _refuse, encode_basestring_ascii, None, ":", ",", True, False, False
)


def dumps(value: object) -> str:
    """Compact ASCII JSON of ``value``. Raises TypeError or ValueError for what JSON cannot say."""
    return _text(_encode, value)


def canonical(value: object) -> bytes:
    """The one byte string that stands for ``value``: sorted keys, no white space, ASCII."""
    return _text(_encode_sorted, value).encode("ascii")


def _text(encode: Callable[[object, int], Iterable[str]], value: object) -> str:
    try:
        return "".join(encode(value, 0))
    except RecursionError:
        raise ValueError("nested too deeply for JSON") from None


def loads(text: str | bytes | bytearray) -> object:
    """The value of one JSON text. Raises ValueError, for anything but exactly one value."""
    if not isinstance(text, str):
        text = str(text, "utf-8")
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = _scan(text, start)
    except StopIteration as error:
        raise ValueError(f"JSON value expected at character {error.value}") from None
    except SystemError as error:  # Python 3.11 looks for its exception class in json.decoder
        raise ValueError("not JSON") from error
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    if text[end:].strip(_SPACE):
        raise ValueError(f"extra data after the JSON value at character {end}")
    return value
