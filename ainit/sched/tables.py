"""The questions of ``candidates``, worked out in arrays: the same rows in the same order, faster.

What does not change between decisions lies in tables: for a set of boards every placement with its
masks, for an order of profiles the order of its candidates. A decision fills two small tables, one
row for each request and profile and one for each placement, and joins them. Only loaded with a
policy; what is asked, and why, says ``candidates``.

    question = Tables().ask(state)           # as candidates.ask(state)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from . import candidates, features
from .boards import Array, Boards, Chosen
from .candidates import Candidate
from .occupied import Occupied
from .place import Device
from .request_rows import HALF, Totals, rows_of, times_of
from .state import (
    DISPLACERS,
    MOVERS,
    RESIDENCY_S,
    WINDOW_OLDEST,
    WINDOW_SHORTEST,
    Request,
    Running,
    State,
    left,
)

_BOARDS_MAX = 16  # sets of boards that are remembered
_WIDTH = len(features.NAMES)


class Question:
    """As ``candidates.Question``; ``rows`` and ``legal`` are arrays."""

    __slots__ = ("able", "boards", "candidates", "legal", "rows")

    def __init__(
        self,
        options: Sequence[Candidate],
        legal: Array,
        rows: Array,
        boards: frozenset[str],
        *,
        waits: bool,
    ) -> None:
        self.candidates = options
        self.legal = legal
        self.rows = rows
        self.boards = boards
        self.able = bool(legal[: len(legal) - waits].any())

    def row(self, index: int) -> dict[str, float]:
        """The features of one candidate, by name."""
        return dict(zip(features.NAMES, self.rows[index].tolist(), strict=True))


class Tables:
    """Asks, and remembers what can be of use again."""

    def __init__(self) -> None:
        self._boards: dict[tuple[int, ...], tuple[Boards, list[object]]] = {}

    def ask(self, state: State) -> Question | candidates.Question:
        """Everything that may be done in a state."""
        if not any(device.mig for device in state.devices):
            return candidates.ask(state)
        return _Asking(self._of(state.devices), state).question()

    def _of(self, devices: Sequence[Device]) -> Boards:
        """The tables of these boards; they are known again by their tuples of profiles."""
        key = tuple([v for d in devices for v in (id(d.profiles), d.index, d.mig, id(d.name))])
        found = self._boards.get(key)
        if found is None:
            if len(self._boards) >= _BOARDS_MAX:
                self._boards.clear()
            alive: list[object] = [(device.profiles, device.name) for device in devices]
            found = self._boards[key] = (Boards(devices), alive)
        return found[0]


class _Asking:
    def __init__(self, boards: Boards, state: State) -> None:
        self.boards = boards
        self.state = state
        self.occupied = Occupied(boards, state)
        slices = max(state.slices, 1)
        idle = 1.0 - self.occupied.taken / slices
        self.totals = Totals(slices, len(self.occupied.devices), idle)
        self.areas: Array = None

    def question(self) -> Question:
        boards, state, occupied = self.boards, self.state, self.occupied
        totals = self.totals
        window = self._window(state.queue)
        movers = self._movers() if state.may_wait else []
        requests = [*window, *(each.request for each in movers)]
        orders = [boards.speeds(each.speeds)[2] for each in requests]
        until = [each.until_s for each in movers]
        table: Array = None  # where nobody waits and nobody may be moved
        if requests:
            free_at = occupied.free_at()
            table, self.areas = rows_of(boards, requests, until, self.totals, free_at)
        rows = [occupied.columns()]
        where, legal, row_at, counts = self._starts(window, orders, rows)
        gone = occupied.names
        for number, running in enumerate(movers, len(window)):
            self._moves(running, orders[number], rows, where, row_at, counts)
        place = np.concatenate(where) if where else np.zeros(0, dtype=np.intp)
        at = np.concatenate(row_at) if row_at else place
        who = np.arange(len(requests)).repeat(counts)
        count, waits = len(place), state.may_wait
        able = np.ones(count + waits, dtype=np.bool_)
        able[: len(legal)] = legal
        all_rows = np.empty((count + waits, _WIDTH), dtype=np.float32)
        if count:
            pair = who * len(boards.names)
            pair += boards.name.take(place)
            all_rows[:count, :HALF] = table.take(pair, axis=0)
            placed = rows[0] if len(rows) == 1 else np.concatenate(rows)
            all_rows[:count, HALF:] = placed.astype(np.float32).take(at, axis=0)
        if waits:
            all_rows[count, HALF:] = 0.0
            all_rows[count, :HALF] = features.waiting(
                totals.count, len(occupied.devices), totals.backlog, totals.idle, totals.oldest
            )
        plain, displacing = len(boards.places), len(occupied.on)

        def displaces(index: int) -> tuple[str, ...]:
            number = int(at[index]) - plain
            return gone(number) if 0 <= number < displacing else ()

        names = [each.name for each in requests]
        options = Chosen(boards, names, who, place, len(window), displaces, waits=waits)
        return Question(options, able, all_rows, boards.product_names, waits=waits)

    def _window(self, queue: Sequence[Request]) -> list[Request]:
        """The requests to consider, and what is to be known of the whole queue."""
        if not queue:
            return []
        boards, totals = self.boards, self.totals
        work = np.array([[left(each.estimate_s, each.attained_s)] for each in queue])
        times = times_of(boards, queue, work)
        times += np.array([[each.restart_s] for each in queue])
        times *= boards.memory_of
        least = np.minimum.reduce(times, axis=1) / np.array([each.weight for each in queue])
        able = [(area, at) for at, area in enumerate(least.tolist()) if area < math.inf]
        totals.oldest = max([each.waited_s for each in queue])
        totals.count = len(able)
        if not able:
            return []
        total = sum([area for area, _ in able])
        totals.backlog = total / totals.slices
        totals.mean = total / totals.count
        able.sort()
        totals.shortest = able[0][0]
        chosen = [at for _, at in able[:WINDOW_SHORTEST]]
        if len(able) > WINDOW_SHORTEST:
            rest = sorted([(-queue[at].waited_s, at) for _, at in able[WINDOW_SHORTEST:]])
            chosen += [at for _, at in rest[:WINDOW_OLDEST]]
        return [queue[at] for at in chosen]

    def _movers(self) -> list[Running]:
        movable = [e for e in self.state.running if e.movable and e.since_s >= RESIDENCY_S]
        movable.sort(key=lambda each: -each.until_s)
        return movable[:MOVERS]

    def _starts(
        self, window: Sequence[Request], orders: Sequence[tuple[str, ...]], rows: list[Array]
    ) -> tuple[list[Array], Array, list[Array], list[int]]:
        """Where each of the window may start: placements, whether the first's are legal, the rows
        of their features, and how many. Of the first all are listed, of others what is legal.
        """
        boards, occupied = self.boards, self.occupied
        free, plain = occupied.free & ~occupied.full, len(boards.places)
        displaced, areas = occupied.displaced() if window else (np.zeros(0, dtype=np.intp), ())
        variant = np.full(plain, -1, dtype=np.intp)
        if len(displaced):
            variant[displaced] = np.arange(len(displaced)) + plain
            rows.append(occupied.displacing(displaced))
        oldest = max(window, key=lambda each: each.waited_s, default=None)
        where: list[Array] = []
        row_at: list[Array] = []
        counts: list[int] = []
        legal: Array = np.zeros(0, dtype=np.bool_)
        kept: dict[tuple[str, ...], Array] = {}
        for number, request in enumerate(window):
            names = orders[number]
            may: Array = free
            displaces = number < DISPLACERS or request is oldest
            if len(displaced) and displaces:
                may = free.copy()
                least = self.areas[number].take(boards.name.take(displaced))
                may[displaced] = (areas > least) & ~occupied.full[displaced]
                order = boards.order(names)
                chosen = order if number == 0 else order[may.take(order)]
                at: Array = variant.take(chosen)
                at = np.where(at >= 0, at, chosen)
            else:
                order = boards.order(names)
                if number == 0:
                    chosen = order
                elif (found := kept.get(names)) is not None:
                    chosen = found
                else:
                    chosen = kept[names] = order[may.take(order)]
                at = chosen
            if number == 0:
                legal = may.take(chosen)
            where.append(chosen)
            row_at.append(at)
            counts.append(len(chosen))
        return where, legal, row_at, counts

    def _moves(
        self,
        running: Running,
        names: tuple[str, ...],
        rows: list[Array],
        where: list[Array],
        row_at: list[Array],
        counts: list[int],
    ) -> None:
        """To free slices, its own among them, where it ends sooner."""
        boards, occupied = self.boards, self.occupied
        gpu, own = next(
            ((at, mask) for at, mask, each, _ in occupied.running if each is running), (-1, 0)
        )
        here = np.where(boards.gpus == gpu, own, 0)
        request = running.request
        times = times_of(boards, [request], np.array([[request.left_s]]))[0] + request.restart_s
        sooner = times < running.until_s
        free = boards.free[occupied.masks & ~here, boards.places] & ~occupied.full
        order = boards.order(names)
        chosen = order[(free & sooner.take(boards.name)).take(order)]
        at = chosen.copy()
        mine = np.flatnonzero(boards.gpus.take(chosen) == gpu)
        if len(mine):
            begin = sum(len(each) for each in rows)
            rows.append(occupied.variants(chosen[mine], np.intp(own)))
            at[mine] = np.arange(begin, begin + len(mine))
        where.append(chosen)
        row_at.append(at)
        counts.append(len(chosen))
