"""A network that starts from the evolved policy, and goes on from it with masked PPO. Needs torch.

The network scores a candidate from its row and the mean row of all candidates: two layers of 64. It
is cloned first, by cross-entropy on the choices of the evolved policy, then improved by PPO with a
clipped objective. Only real candidates are ever in the softmax.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import features
from . import es, objective, weights
from .boards import Floats
from .env import Scheduling

WIDTH = len(features.NAMES)
HIDDEN = 64
CLIP, DISCOUNT, TRACE, ENTROPY = 0.2, 0.9995, 0.95, 1e-3
EPOCHS, BATCH, RATE = 3, 128, 3e-4
CLONE_STEPS = 6000
PPO_STEPS = 2048
EPISODES = 6  # of validation

Report = Callable[[str], None]


class Network(nn.Module):
    """Logits of candidates, and the value of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(2 * WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, 1),
        )  # fmt: skip
        self.value = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, rows: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``rows``: batch, candidate, feature; ``real``: batch, candidate."""
        shares = real.float() / real.sum(1, keepdim=True)
        mean = (rows * shares[..., None]).sum(1)
        whole = torch.cat([rows, mean[:, None].expand_as(rows)], 2)
        logits = torch.where(real, self.score(whole)[..., 0], torch.tensor(-1e9))
        return logits, self.value(mean)[..., 0]


@dataclass
class Step:
    """One decision as it was made."""

    rows: Floats
    action: int
    log_probability: float
    value: float
    reward: float
    over: bool


def vector(path: Path) -> Floats:
    """The weights of a file as evolution varies them."""
    content = json.loads(path.read_text(encoding="utf-8"))
    outputs = [unit["output"] for unit in content["units"]]
    return np.array([*(content["linear"][name] for name in features.NAMES), *outputs])


def tensors(steps: Sequence[Step]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows padded to the longest, and which are real."""
    longest = max(len(each.rows) for each in steps)
    rows = np.zeros((len(steps), longest, WIDTH), np.float32)
    real = np.zeros((len(steps), longest), np.bool_)
    for number, each in enumerate(steps):
        rows[number, : len(each.rows)] = each.rows
        real[number, : len(each.rows)] = True
    return torch.from_numpy(rows), torch.from_numpy(real)


def choose_evolved(evolved: Floats) -> Callable[[Floats], int]:
    """The evolved policy on rows."""
    first, bias = weights.matrix()
    linear, second = evolved[:WIDTH], evolved[WIDTH:]

    def choose(rows: Floats) -> int:
        return int(np.argmax(rows @ linear + np.maximum(rows @ first + bias, 0.0) @ second))

    return choose


def play(network: Network, random: np.random.Generator, count: int, teacher: Any) -> list[Step]:
    """So many decisions on training scenarios, the teacher's or the network's own."""
    steps: list[Step] = []
    while len(steps) < count:
        ((scenario, seed),) = es.draw(random, 1)
        world = Scheduling(scenario)
        seen, _ = world.reset(seed=seed)
        over = False
        while not over and len(steps) < count:
            rows = seen["rows"][: seen["count"]]
            with torch.no_grad():
                logits, value = network(
                    torch.from_numpy(rows)[None], torch.ones(1, len(rows), dtype=torch.bool)
                )
            chances = torch.distributions.Categorical(logits=logits[0])
            action = teacher(rows) if teacher else int(chances.sample())
            log_probability = float(chances.log_prob(torch.tensor(action)))
            seen, reward, over, _, _ = world.step(action)
            steps.append(Step(rows.copy(), action, log_probability, float(value), reward, over))
    return steps


def clone(network: Network, evolved: Floats, report: Report) -> None:
    """Fit the network to the choices of the evolved policy."""
    steps = play(network, np.random.default_rng(1), CLONE_STEPS, choose_evolved(evolved))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    order = np.random.default_rng(2)
    for epoch in range(10):
        right = 0
        for batch in np.array_split(order.permutation(len(steps)), len(steps) // BATCH):
            chosen = [steps[each] for each in batch]
            logits, _ = network(*tensors(chosen))
            actions = torch.tensor([each.action for each in chosen])
            loss = nn.functional.cross_entropy(logits, actions)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            right += int((logits.argmax(1) == actions).sum())
        report(f"clone, epoch {epoch + 1}: {right / len(steps):.1%} of choices alike")


def improve(network: Network, minutes: float, report: Report) -> None:
    """PPO for so long."""
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    random, began, rounds = np.random.default_rng(3), time.monotonic(), 0
    while (time.monotonic() - began) / 60 < minutes:
        steps = play(network, random, PPO_STEPS, None)
        advantage, following, carried = np.zeros(len(steps), np.float32), 0.0, 0.0
        for n in range(len(steps) - 1, -1, -1):
            keep = 0.0 if steps[n].over else DISCOUNT
            carried = steps[n].reward + keep * following - steps[n].value + keep * TRACE * carried
            advantage[n], following = carried, steps[n].value
        targets = torch.from_numpy(advantage) + torch.tensor([each.value for each in steps])
        scaled = torch.from_numpy((advantage - advantage.mean()) / (advantage.std() + 1e-8))
        for _ in range(EPOCHS):
            for batch in np.array_split(random.permutation(len(steps)), len(steps) // BATCH):
                chosen = [steps[each] for each in batch]
                logits, value = network(*tensors(chosen))
                chances = torch.distributions.Categorical(logits=logits)
                now = chances.log_prob(torch.tensor([each.action for each in chosen]))
                share = (now - torch.tensor([each.log_probability for each in chosen])).exp()
                gain = torch.min(
                    share * scaled[batch], share.clamp(1 - CLIP, 1 + CLIP) * scaled[batch]
                )
                loss = -gain.mean() + 0.5 * ((value - targets[batch].float()) ** 2).mean()
                loss = loss - ENTROPY * chances.entropy().mean()
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 0.5)
                optimiser.step()
        rounds += 1
        report(f"ppo, round {rounds}: reward {np.mean([each.reward for each in steps]):.5f}")


def validate(network: Network, episodes: int = EPISODES) -> float:
    """The loss on validation scenarios, the most likely candidate taken."""
    losses = []
    for scenario, seed in es.validation()[:episodes]:
        world = Scheduling(scenario)
        seen, _ = world.reset(seed=seed)
        over, total = False, 0.0
        while not over:
            rows = torch.from_numpy(seen["rows"][: seen["count"]])[None]
            with torch.no_grad():
                logits, _ = network(rows, torch.ones(1, rows.shape[1], dtype=torch.bool))
            seen, reward, over, _, _ = world.step(int(logits.argmax()))
            total -= reward
        losses.append(np.log(min(total, objective.GAVE_UP)))
    return float(np.mean(losses))


def agreement(evolved: Floats, model: Path, count: int = 10_000) -> tuple[int, float]:
    """Random states on which torch and onnxruntime choose alike, and the greatest difference."""
    import onnxruntime

    first, bias = (torch.from_numpy(each).float() for each in weights.matrix())
    linear = torch.from_numpy(evolved[:WIDTH].copy()).float()
    second = torch.from_numpy(evolved[WIDTH:].copy()).float()
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    random, alike, apart = np.random.default_rng(4), 0, 0.0
    for _ in range(count):
        rows = random.random((int(random.integers(2, 64)), WIDTH), dtype=np.float32)
        table = torch.from_numpy(rows)
        ours = table @ linear + torch.relu(table @ first + bias) @ second
        real = np.ones(len(rows), np.bool_)
        scores, choice = session.run(["scores", "choice"], {"features": rows, "mask": real})
        apart = max(apart, float(np.abs(ours.numpy() - scores).max()))
        alike += int(int(ours.argmax()) == int(choice.ravel()[0]))
    return alike, apart
