"""The queue's memory over a restart of the service: shares, and who has held what since when.

Version 1, JSON, on a tmpfs. Who waits is not in it: they ask again by themselves.

    {"schema": 1, "usage": {"used": {"kim": 12.5}, "at": 98.0}, "holders": [...], "moves": [...]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from ..linux import files
from ..wire.codec import dumps, loads
from ..wire.protocol import VarlinkError
from . import asking
from .queue import Rules, Usage
from .requests import Holder
from .round_records import Limits
from .rounds import Rounds

SCHEMA = 1


def rules(settings: Mapping[str, object]) -> tuple[Rules, Limits]:
    """What ``[scheduler]`` of the machine configuration says, and the defaults."""
    said = {key: value for key, value in settings.items() if value is not None}
    of_queue = {key: said[key] for key in ("shares", "half_life_s", "wait_max_s") if key in said}
    of_moves = {key: said[key] for key in ("moves_per_hour", "residency_s") if key in said}
    return Rules(**of_queue), Limits(**of_moves)  # type: ignore[arg-type]


def settings(path: str) -> Mapping[str, object]:
    """The table ``[scheduler]`` of the machine's part of the plan; empty where there is none."""
    try:
        with open(path, "rb") as file:
            found = loads(file.read())
    except (OSError, ValueError):
        return {}
    table = found.get("scheduler") if isinstance(found, dict) else None
    return table if isinstance(table, dict) else {}


def save(path: str, rounds: Rounds) -> None:
    """Replace what was saved. Raises OSError."""
    holders = []
    for holder in rounds.holders.values():
        wish = {**asdict(holder.wish), "kind": holder.wish.kind.value}
        holders.append({"wish": wish, "started": holder.started})
    document = {
        "schema": SCHEMA,
        "usage": rounds.queue.usage.to_record(),
        "holders": holders,
        "moves": list(rounds.moves),
    }
    files.replace(path, (dumps(document) + "\n").encode(), 0o600)


def load(path: str, rounds: Rounds) -> str:
    """Take up what was saved; what was wrong with it, in words. Nothing is no error."""
    try:
        with open(path, "rb") as file:
            document = loads(file.read())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return f"the queue's memory is lost: {error}"
    try:
        if not isinstance(document, dict) or document["schema"] != SCHEMA:
            raise ValueError(f"schema {SCHEMA} expected")
        usage = document["usage"]
        holders = {}
        for each in document["holders"]:
            wish = each["wish"]
            asked = {"agent": wish["name"], "profile": wish["profiles"][0], "request": wish}
            holders[wish["name"]] = Holder(asking.parse(asked, 0.0)[0], float(each["started"]))
        moves = [float(each) for each in document["moves"]]
        used = {str(owner): float(seconds) for owner, seconds in usage["used"].items()}
        rounds.queue.usage = Usage(rounds.queue.rules, used, float(usage["at"]))
    except (ValueError, TypeError, KeyError, IndexError, VarlinkError) as error:
        return f"the queue's memory is lost: {error}"
    rounds.holders.update(holders)
    rounds.moves.extend(moves)
    return ""
