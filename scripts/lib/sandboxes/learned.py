"""Sandboxes that are learned of a day of use, beside those that somebody wrote by hand.

The day is replayed at once, in the wide sandbox that it is learned in, and in the learned one.
"""

from __future__ import annotations

from lib import bench
from lib.bench import Goal
from tests.support.audited import Audited
from tests.support.learned import AGENT_NAMES, watched

RATIO_MAX = 1.1


def goals() -> list[Goal]:
    """How many things are allowed, for one that is allowed by hand; and what of the day a learned
    sandbox denied. Each is the worst of the agents, which are the peers.
    """
    ratios: dict[str, float] = {}
    denied: dict[str, float] = {}
    for name in AGENT_NAMES:
        with Audited() as agent:
            found = watched(agent, name).learn()
        ratios[name], denied[name] = found.ratio, float(found.denied)
        print(
            f"  {name}: {found.things} things are allowed, {found.by_hand} by hand, "
            f"{found.wide} before; {found.denied} denials"
        )
    return [
        bench.goal("sandbox.learned_vs_hand", [max(ratios.values())], "x", RATIO_MAX, ratios),
        bench.goal("sandbox.learned_denials", [max(denied.values())], "", 0, denied),
    ]
