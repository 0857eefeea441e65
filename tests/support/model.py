"""What must hold of a machine, from what befell it alone: a model that knows no code of PID 1's.

It is told what people asked for and what died (`rests`, `starts`), and compares with what is there
(`problems`): a unit that is to be up has one process and no second, one that is to be down has
none, nothing is started more often than there was reason for, and PID 1 knows the very processes
that live. Leaves out when: a machine is looked at when it has come to rest.

>>> model = Model({"a": UP, "b": DOWN})
>>> model.problems([Seen("a", "ready", 7, [7], 1), Seen("b", "inactive", 0, [], 0)])
['a was started 1 times, not 0 to 0']
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

UP = frozenset({"ready"})
DOWN = frozenset({"inactive"})
DONE = frozenset({"exited"})
HELD = frozenset({"failed"})
RESTING = DOWN | DONE  # a unit that something else than the boot starts


@dataclass(frozen=True)
class Seen:
    """A unit as it was found: what PID 1 says of it, which of its processes live, how many of its
    main processes were born. ``pid`` is 0 for a unit whose main process is not known.
    """

    name: str
    state: str
    pid: int
    alive: list[int]
    born: int


class Model:
    """``rests`` says in which states each unit may rest; ``processless`` units have none."""

    def __init__(
        self, rests: Mapping[str, frozenset[str]], processless: Iterable[str] = ()
    ) -> None:
        self.rests = dict(rests)
        self._processless = set(processless)
        self._least: Counter[str] = Counter()
        self._most: Counter[str] = Counter()

    def starts(self, name: str, least: int = 1, most: int | None = None) -> None:
        """There was reason to start a unit so many times more."""
        self._least[name] += least
        self._most[name] += least if most is None else most

    def forget(self) -> None:
        """What was counted so far is done with."""
        self._least.clear()
        self._most.clear()

    def is_met(self, name: str, state: str, born: int) -> bool:
        """Whether a unit has come to where it is to rest."""
        return state in self.rests[name] and born >= self._least[name]

    def problems(self, units: Iterable[Seen]) -> list[str]:
        """What is not as it must be, in words."""
        found = []
        for one in units:
            least, most = self._least[one.name], self._most[one.name]
            if one.state not in self.rests[one.name]:
                found.append(f"{one.name} is {one.state}, not {'/'.join(self.rests[one.name])}")
            if not least <= one.born <= most:
                found.append(f"{one.name} was started {one.born} times, not {least} to {most}")
            up = one.state == "ready" and one.name not in self._processless
            if len(one.alive) != up:
                found.append(f"{one.name} is {one.state} and has the processes {one.alive}")
            elif up and one.pid != one.alive[0]:
                found.append(f"{one.name} has the process {one.alive[0]}, PID 1 knows of {one.pid}")
            elif not up and one.pid:
                found.append(f"{one.name} is {one.state}, and PID 1 thinks that {one.pid} lives")
        return found
