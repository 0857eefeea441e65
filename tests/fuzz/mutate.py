"""Seeded mutations of bytes: what there is where no fuzzer says which of them reach new code."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

WORDS = (
    *(b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xc3", b"\\u0000"),
    *(b"\n", b'"', b"'''", b"[", b"[[", b"]", b"{", b"}", b"=", b"nan", b"1e400"),
    *(b"..", b"/", b"~", b"*", b"-", b":"),
)
LONGEST = 4096


def mutations(seeds: Sequence[bytes], chance: random.Random) -> Iterator[bytes]:
    """Without end: one of ``seeds`` with some of its bytes changed, moved, repeated or left out."""
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            _mutate(data, seeds, chance)
        yield bytes(data[:LONGEST])


def _mutate(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    start = chance.randint(0, len(data))
    end = min(start + chance.choice((1, 1, 2, 4, 8, 64)), len(data))
    match chance.randrange(7):
        case 0:
            data[start:end] = chance.randbytes(end - start)
        case 1:
            del data[start:end]
        case 2:
            data[start:start] = chance.choice(WORDS)
        case 3:
            data[start:end] = data[start:end] * chance.randint(2, 5)
        case 4:
            other = chance.choice(seeds)
            place = chance.randint(0, len(other))
            data[start:start] = other[place : place + chance.choice((1, 4, 32, 256))]
        case 5 if start < end:
            data[start] ^= 1 << chance.randrange(8)
        case _:
            del data[start:]
