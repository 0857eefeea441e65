"""Partitions as files: mig-parted's format (``version: v1``, ``mig-configs``), YAML or JSON.

YAML is read with PyYAML, which is on the hosts of operators and not in the image: a machine's own
ainitctl reads the same file as JSON. One thing is added to the format: ``mig-devices`` may be a
list, in which ``3g.40gb@4`` is a profile with its first memory slice. Leaves out what a board
offers: the machine knows. Every finding has file and line (of JSON only where it does not parse).

>>> entries_of({"version": "v1", "mig-configs": {"all": [{"devices": "all", "mig-enabled": True,
...     "mig-devices": {"1g.10gb": 2}}]}}, "f.json", "")[0].wire()["instances"]
[{'profile': '1g.10gb', 'start': None}, {'profile': '1g.10gb', 'start': None}]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..child.compile import read
from ..errors import ConfigError, Finding

VERSION = "v1"
COUNT_MAX = 64  # of one profile: more than any board holds
_KEYS = ("devices", "device-filter", "mig-enabled", "mig-devices")
_NO_YAML = (
    "this ainitctl reads no YAML: PyYAML is not installed; with it, somewhere else, "
    "`python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)'` "
    "makes JSON of it, or use `ainitctl --host` from there"
)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One entry, and the line where it begins. ``gpus`` is None for all."""

    line: int
    gpus: tuple[int, ...] | None
    kinds: tuple[int, ...]
    mig: bool | None
    wants: tuple[tuple[str, int | None], ...]

    def wire(self) -> dict[str, object]:
        """The entry as ``org.ainos.Gpu`` takes it."""
        return {
            "gpus": None if self.gpus is None else list(self.gpus),
            "kinds": list(self.kinds),
            "mig": self.mig,
            "instances": [{"profile": name, "start": start} for name, start in self.wants],
        }


class _Mapping(dict[str, Any]):
    """An object of a file, with the line of each key."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


def load(path: Path, config: str) -> tuple[str, tuple[FileEntry, ...]]:
    """The name and the entries of one configuration of a file; of the only one without a name.

    Raises ConfigError with every finding.
    """
    text = read(path)
    document = _parse_json(path, text) if path.suffix == ".json" else _parse_yaml(path, text)
    name = _choose(document, str(path), config)
    return name, entries_of(document, str(path), name)


def entries_of(document: object, file: str, name: str) -> tuple[FileEntry, ...]:
    """The entries of a configuration. Raises ConfigError."""
    name = _choose(document, file, name)
    assert isinstance(document, Mapping)
    configs = document["mig-configs"]
    listed = configs[name]
    start = _line(configs, name)
    findings: list[Finding] = []
    if not isinstance(listed, list) or not listed:
        raise ConfigError([Finding(file, start, f"{name} is a list of at least one entry")])
    found = [_entry(each, file, start, findings) for each in listed]
    if findings:
        raise ConfigError(findings)
    return tuple(each for each in found if each is not None)


def _choose(document: object, file: str, config: str) -> str:
    if not isinstance(document, Mapping):
        raise ConfigError([Finding(file, 1, "an object with version and mig-configs is expected")])
    if document.get("version") != VERSION:
        line = _line(document, "version")
        raise ConfigError([Finding(file, line, f"version is {VERSION}, mig-parted's")])
    configs = document.get("mig-configs")
    line = _line(document, "mig-configs")
    if not isinstance(configs, Mapping) or not configs:
        raise ConfigError([Finding(file, line, "mig-configs names at least one configuration")])
    names = ", ".join(map(str, configs))
    if config and config not in configs:
        raise ConfigError([Finding(file, line, f"there is no configuration {config}; {names}")])
    if not config and len(configs) > 1:
        raise ConfigError([Finding(file, line, f"--config says which one: {names}")])
    return config or str(next(iter(configs)))


def _entry(value: object, file: str, start: int, findings: list[Finding]) -> FileEntry | None:
    if not isinstance(value, Mapping):
        findings.append(Finding(file, start, "an entry is an object"))
        return None
    begin = getattr(value, "line", start)

    def wrong(key: str, message: str) -> None:
        findings.append(Finding(file, _line(value, key, begin), message))

    for key in value:
        if key not in _KEYS:
            wrong(key, f"there is no {key}; an entry has {', '.join(_KEYS)}")
    devices = value.get("devices")
    if devices != "all" and not _is_numbers(devices):
        wrong("devices", "devices is all, or a list of indices")
    mig = value.get("mig-enabled")
    if not isinstance(mig, bool):
        wrong("mig-enabled", "mig-enabled is true or false")
    filters = value.get("device-filter", [])
    kinds = [_kind(each) for each in ([filters] if isinstance(filters, str) else filters)]
    if None in kinds:
        wrong("device-filter", "device-filter is a PCI device id such as 0x233010DE, or several")
    wants: list[tuple[str, int | None]] = []
    try:
        wants = list(_wants(value.get("mig-devices", {})))
    except ValueError as error:
        wrong("mig-devices", str(error))
    if mig is False and wants:
        wrong("mig-devices", "there are no instances where mig-enabled is false")
    return FileEntry(
        begin,
        tuple(devices) if isinstance(devices, list) else None,
        tuple(kind for kind in kinds if kind is not None),
        mig if isinstance(mig, bool) else None,
        tuple(wants),
    )


def _wants(value: object) -> list[tuple[str, int | None]]:
    if isinstance(value, list):
        return [_want(each) for each in value]
    if not isinstance(value, Mapping):
        raise ValueError("mig-devices maps profiles to their number, or lists them")
    found: list[tuple[str, int | None]] = []
    for name, count in value.items():
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= COUNT_MAX:
            raise ValueError(f"{name}: {count!r} is no number of instances from 0 to {COUNT_MAX}")
        found += [_want(str(name))] * count
    return found


def _want(text: object) -> tuple[str, int | None]:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no profile")
    profile, at, start = text.partition("@")
    if at and not start.isdecimal():
        raise ValueError(f"{text}: a memory slice comes after @")
    if "c." in profile.partition("g.")[0]:
        raise ValueError(f"{text}: compute instances that share a GPU instance are not made here")
    return profile, int(start) if at else None


def _kind(text: object) -> int | None:
    try:
        return int(text, 16) if isinstance(text, str) else None
    except ValueError:
        return None


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in value
    )


def _line(mapping: object, key: str, fallback: int = 1) -> int:
    return mapping.lines.get(key, mapping.line) if isinstance(mapping, _Mapping) else fallback


def _parse_json(path: Path, text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError([Finding(str(path), error.lineno, error.msg)]) from error


def _parse_yaml(path: Path, text: str) -> object:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError([Finding(str(path), 1, _NO_YAML)]) from error
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        return None if root is None else _plain(loader, root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark is not None else 1
        raise ConfigError([Finding(str(path), line, f"not YAML: {what}")]) from error
    except (_DuplicateError, RecursionError) as error:
        line = error.line if isinstance(error, _DuplicateError) else 1
        raise ConfigError([Finding(str(path), line, str(error) or "nested too deep")]) from error
    finally:
        loader.dispose()


class _DuplicateError(ValueError):
    def __init__(self, key: str, line: int) -> None:
        super().__init__(f"{key} is there twice")
        self.line = line


def _plain(loader: Any, node: Any) -> object:
    """A node as plain values, objects with their lines."""
    if node.id == "sequence":
        return [_plain(loader, each) for each in node.value]
    if node.id != "mapping":
        return loader.construct_object(node)
    found = _Mapping(node.start_mark.line + 1)
    for key_node, value_node in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in found:
            raise _DuplicateError(key, line)
        found[key] = _plain(loader, value_node)
        found.lines[key] = line
    return found
