"""Who waits for a GPU instance, in which order, and whose share has been used up. PURE.

Agents go before jobs: a service is meant to be up. Among either, the order is by *rank*, in points:
the priority, what waiting adds, and what is left of the owner's share. Ten points double the weight
that a policy gives to a second of waiting. Who has waited for ``wait_max_s`` goes before all others
of its kind, and the room that it needs is kept for it: nobody starves, whatever a policy likes.

The share is that of Slurm's multifactor plugin (slurm.schedmd.com, "Fair Tree" and "Classic
Fairshare"): 2^(-used/due), of slice-seconds that are forgotten by half every ``half_life_s``.

    queue.submit(wish, now); queue.standings(now)[0].wish     # who is next
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

AGEING_S = 600.0  # so long a wait is a point, and doubles a weight after ten of them
SHARE_POINTS = 20.0  # what an owner who has used nothing has before one who has used much
POINTS_DOUBLE = 10.0
WEIGHT_TOP = 1024.0
WAITING_MAX = 512


class Kind(Enum):
    """What waits."""

    AGENT = "agent"
    JOB = "job"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a unit asks for. ``profiles``: the one that it likes best first. ``speeds``: of these, 1
    being a whole GPU; what is not said is the share of the board. ``since`` and ``deadline`` (0:
    none) are seconds since boot, ``estimate_s`` (0: unknown) is on the first profile.
    """

    name: str
    kind: Kind
    profiles: tuple[str, ...]
    owner: str = ""
    speeds: Mapping[str, float] = field(default_factory=dict)
    since: float = 0.0
    estimate_s: float = 0.0
    priority: int = 0
    deadline: float = 0.0
    resizable: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """How the queue is ordered. ``shares``: of owners, beside each other; 1 where none is said."""

    shares: Mapping[str, float] = field(default_factory=dict)
    half_life_s: float = 4 * 3600.0
    wait_max_s: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands, and why: ``share`` is what is left of the owner's, 0..1."""

    wish: Wish
    position: int
    waited_s: float
    share: float
    rank: float
    overdue: bool

    @property
    def weight(self) -> float:
        """How much a second of its waiting counts."""
        weight = math.pow(2.0, max(min(self.rank, 1000.0), -1000.0) / POINTS_DOUBLE)
        return max(min(weight, WEIGHT_TOP), 1.0 / WEIGHT_TOP)


class Usage:
    """Slice-seconds by owner, of which half is forgotten every half-life."""

    def __init__(self, rules: Rules, used: Mapping[str, float] | None = None, at: float = 0.0):
        self._rules = rules
        self._used = dict(used or {})
        self._at = at

    def advance(self, now: float, held: Mapping[str, int]) -> None:
        """Charge what was held (memory slices by owner) since the last time. Time never runs back.

        What was held in between is forgotten meanwhile, too: the integral of the decay.
        """
        passed = max(now - self._at, 0.0)
        rate = math.log(2.0) / self._rules.half_life_s
        kept = math.exp(-rate * passed)
        self._used = {owner: used * kept for owner, used in self._used.items() if used * kept > 1.0}
        for owner, slices in held.items():
            gained = slices * (1.0 - kept) / rate
            if gained:
                self._used[owner] = self._used.get(owner, 0.0) + gained
        self._at = max(now, self._at)

    def share_left(self, owner: str, owners: Iterable[str]) -> float:
        """What is left of an owner's share among these, 0..1: a half for who has used just his."""
        parts = {each: self._rules.shares.get(each, 1.0) for each in (*owners, *self._used, owner)}
        total = sum(self._used.values())
        if not total:
            return 1.0
        due = parts[owner] / sum(parts.values())
        return math.pow(2.0, -(self._used.get(owner, 0.0) / total / due))

    def to_record(self) -> dict[str, object]:
        """The JSON form."""
        used = {owner: round(seconds, 1) for owner, seconds in self._used.items()}
        return {"used": used, "at": self._at}


class Queue:
    """Everybody who waits. Times are seconds since boot, and come with each call."""

    def __init__(self, rules: Rules | None = None, usage: Usage | None = None) -> None:
        self.rules = rules or Rules()
        self.usage = usage or Usage(self.rules)
        self._waiting: dict[str, Wish] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    def submit(self, wish: Wish, now: float) -> bool:
        """Wait, or wait on with another wish: nobody loses his place by asking again. False when
        the queue is full.
        """
        known = self._waiting.get(wish.name)
        if known is None and len(self._waiting) >= WAITING_MAX:
            return False
        since = wish.since if 0 < wish.since <= now else now
        self._waiting[wish.name] = replace(wish, since=min(since, known.since if known else since))
        return True

    def leave(self, name: str) -> Wish | None:
        """Somebody has what he waited for, or waits no more; None when he did not wait."""
        return self._waiting.pop(name, None)

    def standings(self, now: float) -> list[Standing]:
        """All, in order: agents, then jobs; in each the overdue, then by rank, then by time."""
        owners = {wish.owner for wish in self._waiting.values()}
        left = {owner: self.usage.share_left(owner, owners) for owner in owners}
        found = []
        for wish in self._waiting.values():
            waited = max(now - wish.since, 0.0)
            rank = wish.priority + waited / AGEING_S + SHARE_POINTS * left[wish.owner]
            overdue = waited >= self.rules.wait_max_s
            found.append(Standing(wish, 0, waited, left[wish.owner], rank, overdue))
        found.sort(key=_order)
        return [replace(each, position=place) for place, each in enumerate(found, 1)]


def _order(standing: Standing) -> tuple[bool, bool, float, float, str]:
    wish = standing.wish
    first = -standing.waited_s if standing.overdue else -standing.rank
    return (wish.kind is Kind.JOB, not standing.overdue, first, wish.since, wish.name)
