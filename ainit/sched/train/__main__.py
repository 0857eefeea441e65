"""``python -m ainit.sched.train``: the parts of training and comparison that scripts call.

es FOLDER MINUTES         evolve; write the best weights to FOLDER/policy.json
cell NUMBER WEIGHTS OUT   compare all policies in one cell
windows COUNT WEIGHTS OUT compare with CP-SAT on small windows
section5 OUT              the rules on the prototype's workloads
clone / ppo FOLDER MINUTES  fit a network to the policy, and go on from it (torch)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from . import cells, compare, es, metrics, run, static, weights, windows, workload
from .boards import board
from .workload import MISO, Scenario

# Section 5 of the study that this follows: GPUs, load, burst; on an A100-40GB.
SECTION5 = ((1, 0.7, 1.0), (4, 0.5, 1.0), (4, 0.8, 1.0), (4, 0.7, 4.0), (8, 0.8, 4.0))
SECTION5_SEEDS, SECTION5_JOBS = 5, 1500


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)


def evolve(folder: str, minutes: str) -> None:
    """``es``."""
    best = es.train(Path(folder), float(minutes), say)
    write(str(Path(folder) / "policy.json"), weights.document(best, "evolution in simulation"))


def compare_cell(number: str, policy: str, out: str) -> None:
    """``cell``."""
    scorer = weights.read(Path(policy))
    write(out, compare.cell(cells.CELLS[int(number)], scorer, say))


def compare_windows(count: str, policy: str, out: str) -> None:
    """``windows``."""
    scorer, found = weights.read(Path(policy)), []
    for number in range(int(count)):
        found.append(asdict(windows.window(number, scorer)))
        say(f"window {number + 1} of {count}")
    write(out, found)


def section5(out: str) -> None:
    """``section5``: mean completion times by workload and rule."""
    target, found = board("A100-40GB"), []
    for gpus, load, burst in SECTION5:
        scenario = Scenario(
            gpus, load, burst=burst, jobs=SECTION5_JOBS, durations=MISO, inference=0.0
        )
        means: dict[str, list[float]] = {}
        for seed in range(SECTION5_SEEDS):
            jobs = workload.make(scenario, seed)
            for name, rule in compare.RULES.items():
                world = run.ruled(target, jobs, gpus, rule)
                means.setdefault(name, []).append(metrics.of(target, jobs, world).mean)
            partitions = static.means("A100-40GB", jobs, gpus)
            means.setdefault(compare.HINDSIGHT, []).append(
                min(each.mean for each in partitions.values())
            )
            say(f"{gpus} GPUs, load {load}: seed {seed + 1} of {SECTION5_SEEDS}")
        found.append({name: float(np.mean(values)) for name, values in means.items()})
    write(out, found)


def network(policy: str, minutes: str) -> None:
    """``network``: validation losses of the evolved policy, of its clone, and after PPO."""
    from . import ppo

    vector, trained = ppo.vector(Path(policy)), ppo.Network()
    say(f"evolved: validation loss {es.mean_loss(vector, es.validation()[: ppo.EPISODES]):.4f}")
    ppo.clone(trained, vector, say)
    say(f"cloned: validation loss {ppo.validate(trained):.4f}")
    ppo.improve(trained, float(minutes), say)
    say(f"after PPO: validation loss {ppo.validate(trained):.4f}")


def agree(policy: str, model: str, out: str) -> None:
    """``agree``."""
    from . import ppo

    alike, apart = ppo.agreement(ppo.vector(Path(policy)), Path(model))
    say(f"{alike} of 10000 choices alike, scores apart by at most {apart:g}")
    write(out, {"alike": alike, "apart": apart})


def write(out: str, content: object) -> None:
    """Replace a file as a whole."""
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


COMMANDS: dict[str, Callable[..., None]] = {
    "es": evolve,
    "cell": compare_cell,
    "windows": compare_windows,
    "section5": section5,
    "network": network,
    "agree": agree,
}


def main(arguments: list[str]) -> int:
    """Run one command."""
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    COMMANDS[arguments[0]](*arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
