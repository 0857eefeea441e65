"""Hostile services, each alone and each pair of them, beside neighbours that have to live on.

One machine in QEMU with the units of `tests.qemu.hostile`. An attack is: start the attackers, wait
until each is seen to do what it is for, look at the neighbours and at PID 1, stop the attackers,
wait until nothing is left of them. Outcomes are kept in ``build/soak/hostile.json`` with the root
hash of the image, so that a later run goes on. Leaves out attackers with the powers of root, see
tests/qemu/test_hostile.py.

    entries = soak_hostile.main(minutes=10)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from lib import bench, drive, state_partition
from lib.bench import Goal
from lib.host import BUILD, HostError, published
from lib.machine import Machine
from lib.process import wait_until
from lib.progress import step
from tests.qemu import hostile, story

Data = dict[str, Any]

RESULT = BUILD / "soak/hostile.json"
PAIRS = tuple(combinations(hostile.ATTACKS, 2))
SINGLES = tuple((name,) for name in hostile.ATTACKS)
DEADLINE_S = 480.0
CONTROL = "org.ainos.Control"
BEATING = ("plain", "watched")  # neighbours that write a line of their own accord
DOWN = ("inactive", "failed", "exited")
STARTING_NEIGHBOUR = (
    "import socket; s = socket.socket(socket.AF_UNIX); "
    f"s.connect('{hostile.PROVIDER_SOCKET}'); s.sendall(b'x' + bytes(1)); print(s.recv(99))"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attack. ``restarts``: of the neighbours; ``faults``: of PID 1; ``answer_s``:
    the slowest answer of PID 1 while it was under attack; ``dropped``: bytes of the attackers' logs
    that PID 1 let go, and said so; ``problems``: all that ought not to be, in words."""

    attack: tuple[str, ...]
    root: str
    restarts: int
    faults: int
    answer_s: float
    dropped: int
    problems: tuple[str, ...]


def install(folder: Path, units: Mapping[str, str]) -> Callable[[Path], None]:
    """What puts units onto the disk of a machine that is off; ``folder`` is for their files."""

    def edit(disk: Path) -> None:
        state_partition.debugfs(disk, "mkdir /config/units")
        for name, text in units.items():
            (folder / name).write_text(text)
            state_partition.debugfs(disk, f"write {folder / name} /config/units/{name}.toml")

    return edit


class Ground:
    """A machine that runs the units; it is up, and at rest."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        drive.wait_at_rest(machine)
        story.in_shell(machine, f'/usr/bin/python3 -I -S -c "{STARTING_NEIGHBOUR}"')
        for name in hostile.NEIGHBOURS:
            story.until(machine, name, lambda unit: unit["state"] == "ready")
        self._cursors: dict[str, int] = {}
        self._beats: dict[str, int] = {}
        self._slowest_s = 0.0
        self._before = self._status()
        self._root = measured(machine.image)
        for name in BEATING:
            self._problems_of_log(name)

    def attack(self, names: Sequence[str]) -> Outcome:
        """Let these attack, together, until it has been seen; then end them."""
        problems: list[str] = []
        self._slowest_s = 0.0
        before = {name: self._describe(name) for name in names}
        cursors = {name: self._head(name) for name in names}
        for name in reversed(names):  # a fork bomb last: it slows down how the others start
            self._call("Start", {"name": name})
        for name in names:
            problems += self._watch(name, before[name], cursors[name])
        problems += self._harm()
        for name in BEATING:
            problems += self._problems_of_log(name)
        dropped = sum(self._describe(name)["log_dropped"] or 0 for name in names)
        problems += [f"{name} printed {line}" for name in names for line in self._taken(name)]
        problems += self._end(names)
        restarts, faults, found = self._compared()
        return Outcome(
            tuple(names),
            self._root,
            restarts,
            faults,
            round(self._slowest_s, 3),
            dropped,
            (*problems, *found),
        )

    def _call(self, member: str, parameters: Data | None = None) -> Data:
        began = time.monotonic()
        answer = self.machine.call(f"{CONTROL}.{member}", parameters or {})
        self._slowest_s = max(self._slowest_s, time.monotonic() - began)
        return answer

    def _describe(self, name: str) -> Data:
        return dict(self._call("Describe", {"name": name})["unit"])

    def _status(self) -> Data:
        status = self._call("Status")
        units = {unit["name"]: unit for unit in status["units"]}
        return {"machine": status["machine"], **{name: units[name] for name in hostile.NEIGHBOURS}}

    def _head(self, name: str) -> int:
        return int(self._call("Logs", {"unit": name, "lines": 0})["cursors"].get(name, 0))

    def _watch(self, name: str, before: Data, cursor: int) -> list[str]:
        """Wait until an attacker does what it is for."""
        attack = hostile.ATTACKS[name]
        seen: Data = {}

        def look() -> bool:
            asked = {"unit": name, "lines": 100, "cursors": {name: cursor}}
            lines = [line["text"] for line in self._call("Logs", asked)["lines"]]
            now = self._describe(name)
            seen.update(now, lines=lines[-3:], shown=attack.shown(before, now, lines))
            return seen["shown"] or now["state"] in DOWN

        wait_until(look, DEADLINE_S)
        return [] if seen["shown"] else [f"{name} never did what it is for: {seen}"]

    def _taken(self, name: str) -> list[str]:
        lines = self._call("Logs", {"unit": name, "lines": 50})["lines"]
        return [line["text"] for line in lines if line["text"].startswith(hostile.TAKEN)]

    def _harm(self) -> list[str]:
        """What a neighbour that is called, and the machine's health, say in the middle of it."""
        answer = self.machine.call(f"{hostile.INTERFACE}.Ask", {})
        count = int(answer["count"])
        problems = []
        if count <= self._beats.get("provider", 0):
            problems.append(f"provider has counted to {count} only")
        self._beats["provider"] = count
        health = self._call("Status")["machine"]
        if health["health"] not in ("healthy", "degraded"):
            problems.append(f"the machine is {health['health']}: {health['findings']}")
        return problems

    def _problems_of_log(self, name: str) -> list[str]:
        """Wait for a neighbour's next lines: whether one is missing since those of the last time.

        Raises HostError when none comes.
        """
        seen: list[Data] = []

        def look() -> bool:
            asked = {"unit": name, "lines": 1000, "cursors": {name: self._cursors.get(name, 0)}}
            seen[:] = [self._call("Logs", asked)]
            return bool(seen[0]["lines"])

        if not wait_until(look, DEADLINE_S):
            raise HostError(f"{name} is not heard any more")
        self._cursors[name] = int(seen[0]["cursors"][name])
        problems = [f"{name} has lost {size} bytes of log" for size in seen[0]["missed"].values()]
        for line in seen[0]["lines"]:
            word, _, number = line["text"].partition(" ")
            if line["source"] != "unit" or word != "beat":
                continue
            if int(number) != self._beats.get(name, 0) + 1:
                problems.append(f"{name}: line {number} follows {self._beats.get(name)}")
            self._beats[name] = int(number)
        return problems

    def _end(self, names: Sequence[str]) -> list[str]:
        """Stop attackers and see that nothing is left of them, wherever it may have gone."""
        if not names:
            return []
        for name in names:
            self._call("Stop", {"name": name})
        for name in names:
            story.until(self.machine, name, lambda unit: unit["state"] in DOWN)
        users = [str(hostile.FIRST_USER + list(hostile.ATTACKS).index(name)) for name in names]
        # Whose a process is, and a zombie, too, is whose its directory is.
        asked = "".join(
            f"; cat /sys/fs/cgroup/ainos/{name}/pids.current 2>/dev/null" for name in names
        )
        asked += f"; ls -ln /proc | grep -cE ' ({'|'.join(users)}) '"
        left: list[str] = []

        def is_empty() -> bool:
            left[:] = story.in_shell(self.machine, asked.removeprefix("; ")).split()
            return set(left) == {"0"}

        return [] if wait_until(is_empty, DEADLINE_S) else [f"processes are left: {left}"]

    def _compared(self) -> tuple[int, int, list[str]]:
        """Restarts and faults since the ground was made, and who is not what he was; what is told
        once is not told again."""
        before, self._before = self._before, self._status()
        problems = []
        restarts = 0
        for name in hostile.NEIGHBOURS:
            was, now = before[name], self._before[name]
            restarts += now["restarts"] - was["restarts"]
            if now["pid"] != was["pid"] or now["state"] != "ready":
                problems.append(f"{name} is {now['state']} ({now['reason']}), pid {now['pid']}")
            if now["log_dropped"]:
                problems.append(f"{name} has lost {now['log_dropped']} bytes of log")
        faults = self._before["machine"]["faults"] - before["machine"]["faults"]
        if faults:
            problems.append(f"PID 1: {self._before['machine']['last_fault']}")
        return restarts, faults, problems


def measured(image: Path) -> str:
    """What tells one image from another: the root hash."""
    return str(drive.manifest(image)["root"]["hash"])


def kept(root: str, path: Path = RESULT) -> list[Outcome]:
    """The outcomes of former runs of the image with this root."""
    if not path.exists():
        return []
    found = [
        Outcome(**{**one, "attack": tuple(one["attack"]), "problems": tuple(one["problems"])})
        for one in json.loads(path.read_text(encoding="utf-8"))
    ]
    return [one for one in found if one.root == root]


def keep(outcome: Outcome, path: Path = RESULT) -> None:
    """Add an outcome to those of the same image, in the place of a former one of that attack."""
    found = {one.attack: one for one in (*kept(outcome.root, path), outcome)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with published(path) as file:
        records = [asdict(one) for one in found.values()]
        file.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


def goals(outcomes: Sequence[Outcome]) -> list[Goal]:
    """The entries: pairs after which all was as it ought to be, and restarts of neighbours."""
    wanted = len(PAIRS)
    sound = {one.attack for one in outcomes if not one.problems}
    pairs = float(sum(pair in sound for pair in PAIRS))
    alone = float(sum(single in sound for single in SINGLES))
    restarts = [float(sum(one.restarts for one in outcomes))] if outcomes else []
    peers = {
        "alone": alone,
        "faults": float(sum(one.faults for one in outcomes)),
        "slowest answer, s": max((one.answer_s for one in outcomes), default=0.0),
    }
    found = bench.goal("pid1.hostile_pairs", [pairs], "pairs", None, peers)
    complete = pairs == wanted and alone == len(SINGLES)
    return [
        Goal(**{**asdict(found), "bound": wanted, "met": complete}),
        bench.goal("pid1.hostile_neighbour_restarts", restarts, "restarts", 0.0),
    ]


def main(minutes: float, image: Path = drive.IMAGE) -> list[Goal]:
    """Go on with what is missing for so many minutes, and judge all there is."""
    root = measured(image)
    done = {one.attack for one in kept(root) if not one.problems}
    missing = [attack for attack in (*SINGLES, *PAIRS) if attack not in done]
    deadline = time.monotonic() + minutes * 60
    folder = BUILD / "soak/hostile"
    folder.mkdir(parents=True, exist_ok=True)
    if missing:
        with Machine(image, folder) as machine, step("hostile services") as progress:
            machine.alter(install(folder, hostile.units()))
            story.boot(machine)
            ground = Ground(machine)
            for number, attack in enumerate(missing):
                if time.monotonic() > deadline:
                    break
                progress.update(number, len(missing), " and ".join(attack))
                keep(ground.attack(attack))
            machine.power_off()
    return goals(kept(root))
