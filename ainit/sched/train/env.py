"""The simulator as a Gymnasium environment: one step is one decision.

Candidates are many and vary, so an observation holds as many rows as there may be, and says how
many are real; the action is the number of one of them. Rewards are those of docs/gpu-scheduler.md.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from .. import features
from . import engine, objective, options, run, workload
from .boards import Floats, board
from .engine import BUSY_SMS, NOW
from .metrics import IDLE_W
from .workload import Scenario

ROWS = 512  # the first are kept, and to wait
WIDTH = len(features.NAMES)


class Scheduling(gymnasium.Env[dict[str, Any], int]):
    """Jobs of one scenario; ``reset`` with a seed gives other jobs."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.target = board(scenario.board)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "rows": gymnasium.spaces.Box(0.0, 1.0, (ROWS, WIDTH), np.float32),
                "count": gymnasium.spaces.Discrete(ROWS + 1),
            }
        )
        self.action_space = gymnasium.spaces.Discrete(ROWS)
        self._buffers = options.new_options(self.target, scenario.gpus)
        self._whats = np.zeros((0, 6), np.int64)
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Jobs of this seed, and the first decision."""
        super().reset(seed=seed)
        number = int(self.np_random.integers(1 << 30)) if seed is None else seed
        self.jobs = workload.make(self.scenario, number)
        self.beside = objective.reference(self.scenario, number)
        self.world = engine.new_world(self.jobs, self.scenario.gpus)
        self._over = False
        self._advance()
        return self._observe(), {}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take a candidate, and go to the next decision."""
        before = self._tally()
        what = self._whats[action]
        if what[0] == options.WAIT:
            self._advance()
        else:
            run.take(self.target, self.jobs, self.world, what)
            if not self._look():
                self._advance()
        after = self._tally()
        n, beside = len(self.jobs.arrival), self.beside
        reward = -(after - before) @ np.array(
            [1 / (n * beside.mean), objective.ALPHA / n, objective.BETA / beside.energy_mj]
        )
        if self._over:
            tail = float(np.quantile(self.world.finish - self.jobs.arrival, 0.99))
            reward -= objective.DELTA * tail / beside.p99
        return self._observe(), float(reward), self._over, False, {}

    def _tally(self) -> Floats:
        """Sums so far: seconds that jobs were there, deadlines missed, energy in MJ."""
        now, jobs = float(self.world.clock[NOW]), self.jobs
        ended = np.minimum(self.world.finish, now)
        there = np.maximum(ended - jobs.arrival, 0.0).sum()
        missed = float((ended > jobs.deadline).sum())
        busy = float(self.world.clock[BUSY_SMS])
        watts = IDLE_W * now * self.scenario.gpus + (self.target.watts - IDLE_W) * busy
        return np.array([there, missed, watts / 1e6])

    def _advance(self) -> None:
        """Go from event to event until there is something to decide."""
        while True:
            if not engine.advance(self.target, self.jobs, self.world):
                self._over = True
                return
            if self._look():
                return

    def _look(self) -> bool:
        """Whether there is anything but to wait."""
        count = options.fill(self.target, self.jobs, self.world, self._buffers, True)
        whats = self._buffers.what[:count]
        self._whats = (
            whats.copy() if count <= ROWS else np.concatenate([whats[: ROWS - 1], whats[-1:]])
        )
        return count > 1

    def _observe(self) -> dict[str, Any]:
        rows = np.zeros((ROWS, WIDTH), np.float32)
        count = 0 if self._over else len(self._whats)
        if count:
            half = self._buffers.request[self._whats[:, 4]]
            rows[:count] = np.hstack([half, self._buffers.placement[self._whats[:, 5]]])
        return {"rows": rows, "count": count}
