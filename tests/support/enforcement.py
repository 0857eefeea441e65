"""A kernel that keeps BPF maps in memory and judges nobody."""

from __future__ import annotations

import errno
import os

from ainit.policy import enforcement


class MapKeeper:
    """The calls of ``linux.bpf`` that PID 1 makes. ``lacks`` are names that nobody made."""

    def __init__(self) -> None:
        self.lacks: set[str] = set()
        self.maps: dict[int, dict[bytes, bytes]] = {}
        self.numbers: dict[str, int] = {}

    def get(self, path: str) -> int:
        """A descriptor of its own for each name."""
        name = path.rpartition("/")[2]
        if name in self.lacks:
            raise OSError(errno.ENOENT, "no such file", path)
        number = self.numbers[name] = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        return number

    def update(self, map_: int, key: bytes, value: bytes) -> None:
        """Put an entry in."""
        self.maps.setdefault(map_, {})[key] = value

    def lookup(self, map_: int, key: bytes, size: int) -> bytes | None:
        """An entry's value."""
        return self.maps.get(map_, {}).get(key)

    def delete(self, map_: int, key: bytes) -> None:
        """Take an entry out."""
        self.maps.get(map_, {}).pop(key, None)

    def entries(self, map_: enforcement.Map) -> dict[bytes, bytes]:
        """What is in a map."""
        return self.maps.get(self.numbers[map_.name], {})

    def deny(self, group: int, times: int) -> None:
        """Count so many denied opens for an agent's group."""
        entries = self.entries(enforcement.AGENTS)
        value = entries[enforcement.group(group)]
        entries[enforcement.group(group)] = times.to_bytes(8, "little") + value[8:]

    def close(self) -> None:
        """Close what was given."""
        for number in self.numbers.values():
            os.close(number)
