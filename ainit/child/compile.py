"""Compile units, agent manifests and machine configuration into the plan that PID 1 loads.

Run by the image build and, when the machine has a configuration of its own, by PID 1 as a child:

    python3 -m ainit.child.compile --units DIR --agents DIR --machine FILE --out FILE
    python3 -m ainit.child.compile --base PLAN [--units DIR] --machine FILE --out FILE

``--agents`` holds one directory or mounted bundle per agent; ``--base`` takes the units from a
compiled plan, and ``--units`` then holds the machine's own, which are added or, where the machine
configuration says so, replace one. Every finding is printed as ``file:line: message``; the exit
status is then 1 and nothing is written. The decisions are ``policy``'s; this reads and writes the
files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..constants import AGENTS
from ..errors import ConfigError, Finding
from ..linux import files
from ..policy import assembly, candidate, config
from ..policy.plan import Plan, Unit
from ..policy.toml import parse
from ..wire.codec import dumps, loads


def read(path: Path) -> str:
    """The text of a file. Raises ConfigError when it cannot be read as such."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Finding(str(path), 1, f"cannot be read: {error}")]) from error


def _units(directory: Path, findings: list[Finding]) -> list[tuple[Unit, str]]:
    found = []
    for path in sorted(directory.glob("*.toml")):
        try:
            unit, wrong = config.unit(read(path), str(path), path.stem)
        except ConfigError as error:
            findings += error.findings
            continue
        found.append((unit, str(path)))
        findings += wrong
    return found


def _agents(directory: Path, findings: list[Finding]) -> list[tuple[Unit, str]]:
    found = []
    for path in sorted(directory.glob("*/manifest.toml")):
        name = path.parent.name
        try:
            unit, wrong = config.agent(read(path), str(path), name, f"{AGENTS}/{name}.erofs")
        except ConfigError as error:
            findings += error.findings
            continue
        found.append((unit, str(path)))
        findings += wrong
    return found


def read_plan(path: Path) -> Plan:
    """A compiled plan. Raises ConfigError when the file holds none."""
    try:
        record = loads(read(path))
        if not isinstance(record, dict):
            raise ValueError("not an object")
        return Plan.from_record(record)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError([Finding(str(path), 1, f"is no plan: {error}")]) from error


def _over(base: Path, machine: Path, units: Path | None) -> Plan:
    """The plan of a compiled one and the machine's own files."""
    paths = {candidate.MACHINE: machine}
    for path in sorted(units.glob("*.toml")) if units is not None else ():
        paths[f"{candidate.UNITS}{path.name}"] = path
    files: dict[str, str] = {}
    findings: list[Finding] = []
    for file, path in paths.items():
        try:
            files[file] = read(path)
        except ConfigError as error:
            findings += error.findings
    if findings:
        raise ConfigError(findings)
    labels = {file: str(path) for file, path in paths.items()}
    return candidate.compile_over(read_plan(base), files, base_file=str(base), labels=labels)


def locate(file: str, table: str, key: str | int) -> int:
    """The line of a key in a file; 1 in what is no TOML."""
    try:
        return parse(read(Path(file)), file).line((table, key))
    except ConfigError:
        return 1


def compile_plan(
    machine: Path,
    *,
    units: Path | None = None,
    agents: Path | None = None,
    base: Path | None = None,
) -> Plan:
    """The plan of these files; with ``base``, ``units`` are the machine's own and may be missing.

    Raises ConfigError with every finding.
    """
    if base is not None:
        return _over(base, machine, units)
    if units is None or agents is None:
        raise ValueError("either a base plan, or units and agents")
    findings: list[Finding] = []
    found = _units(units, findings) + _agents(agents, findings)
    settings: dict[str, object] = {}
    try:
        settings, wrong = config.machine(read(machine), str(machine))
        findings += wrong
    except ConfigError as error:
        findings += error.findings
    if findings:
        raise ConfigError(findings)
    return assembly.assemble(found, settings, file=str(machine), locate=locate)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="ainit.child.compile", description="compile a plan")
    parser.add_argument("--units", type=Path)
    parser.add_argument("--agents", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--machine", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.base is None and (options.units is None or options.agents is None):
        parser.error("give --base, or both --units and --agents")
    try:
        plan = compile_plan(
            options.machine, units=options.units, agents=options.agents, base=options.base
        )
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    files.replace(str(options.out.absolute()), dumps(plan.to_record()).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
