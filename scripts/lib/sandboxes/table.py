"""What came of the probes, as tables: a row a group or a row a probe; a column a sandbox.

A cell of the first is how many got through, of how many. A sandbox that did not run has no column
of figures, but its reason.

    print(groups(found)); print(whole(found))
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.probed import BLOCKED, KILLED, THROUGH
from tests.support.probes import PROBES

Found = Mapping[str, Mapping[str, str] | str]  # column → probe → outcome, or why it did not run

# Each group's first probe: they lie in this order in `tests.support.probes`.
GROUPS = {
    "files": "read_file_of_another",
    "/proc and /sys": "write_own_memory_past_its_protection",
    "processes": "trace_another",
    "sockets": "connect_to_loopback",
    "kernel": "submission_ring",
    "devices": "memory_of_the_machine",
}
OUTCOMES = (THROUGH, BLOCKED, KILLED)


def members() -> dict[str, list[str]]:
    """The probes of each group."""
    names, begins = list(PROBES), {first: group for group, first in GROUPS.items()}
    found: dict[str, list[str]] = {}
    group = ""
    for name in names:
        group = begins.get(name, group)
        found.setdefault(group, []).append(name)
    return found


def through(outcomes: Mapping[str, str]) -> list[str]:
    """The probes that got through."""
    return [name for name, outcome in outcomes.items() if outcome == THROUGH]


def broken(found: Found) -> list[str]:
    """Probes that neither got through nor were blocked, which says nothing of the sandbox."""
    return [
        f"{column}: {name}: {outcome}"
        for column, outcomes in ran(found).items()
        for name, outcome in outcomes.items()
        if outcome not in OUTCOMES
    ]


def ran(found: Found) -> dict[str, Mapping[str, str]]:
    """The columns that have figures."""
    return {name: each for name, each in found.items() if not isinstance(each, str)}


def not_run(found: Found) -> list[str]:
    """A line for each sandbox that did not run."""
    return [f"{name}: not run: {each}" for name, each in found.items() if isinstance(each, str)]


def groups(found: Found) -> str:
    """The table by groups, as Markdown, with a row for all."""
    columns = ran(found)
    rows = {**members(), "all": list(PROBES)}
    cells = {
        group: [f"{len(through(_some(each, names)))}/{len(names)}" for each in columns.values()]
        for group, names in rows.items()
    }
    return "\n".join([_table("probes", list(columns), cells), *not_run(found)])


def whole(found: Found) -> str:
    """The table by probes, as Markdown."""
    columns = ran(found)
    cells = {
        name: [each[name].split(":")[0].lower() for each in columns.values()] for name in PROBES
    }
    return "\n".join([_table("probe", list(columns), cells), "", *not_run(found), *broken(found)])


def _some(outcomes: Mapping[str, str], names: list[str]) -> dict[str, str]:
    return {name: outcomes[name] for name in names}


def _table(corner: str, columns: list[str], cells: Mapping[str, list[str]]) -> str:
    lines = [f"| {corner} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(row) + " |" for name, row in cells.items()]
    return "\n".join(lines)
