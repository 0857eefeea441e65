"""Prometheus' text format, version 0.0.4.

Leaves out histograms, summaries and times of samples: nothing here has any.

>>> family = Family("ainos_unit_pids", GAUGE, "Processes and threads.")
>>> family.add(3, unit="gpu")
>>> print(render([family]), end="")
# HELP ainos_unit_pids Processes and threads.
# TYPE ainos_unit_pids gauge
ainos_unit_pids{unit="gpu"} 3
"""

from __future__ import annotations

from collections.abc import Iterable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTER = "counter"
GAUGE = "gauge"

_IN_LABELS = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Family:
    """One metric with its samples, each of which has other labels."""

    def __init__(self, name: str, kind: str, help_: str) -> None:
        self.name = name
        self._head = f"# HELP {name} {help_.translate(_IN_HELP)}\n# TYPE {name} {kind}\n"
        self._samples: list[str] = []

    def add(self, value: object, **labels: object) -> None:
        """Add a sample. What is no number is no sample: nobody counted."""
        if not isinstance(value, int | float):
            return
        inner = ",".join(
            f'{key}="{str(text).translate(_IN_LABELS)}"' for key, text in labels.items()
        )
        where = f"{{{inner}}}" if inner else ""
        self._samples.append(f"{self.name}{where} {_number(value)}\n")

    def text(self) -> str:
        """Its lines; none when there is no sample."""
        return self._head + "".join(self._samples) if self._samples else ""


def _number(value: float) -> str:
    if value != value:  # noqa: PLR0124 - the one number that is not itself
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if isinstance(value, bool) else repr(value)


def render(families: Iterable[Family]) -> str:
    """The whole page."""
    return "".join(family.text() for family in families)
