"""What is shown of the agents' sandbox in figures: what gets out of it and out of others, what it
denies wrongly, what it costs, and whether each of its parts holds something.

Figures that are ratios are of pairs that were measured in turn, and their median. What is timed
comes last.

    status = main(Options())
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ainit.errors import AinosError, RefusedError
from ainit.linux.child import Child
from ainit.pid1.confinement import Confinement
from ainit.policy import config
from ainit.policy.sandbox import Profile
from ainit.sandbox import features
from ainit.sandbox.features import Features
from lib import bench
from lib.bench import Goal
from lib.host import HostError, published
from lib.progress import step
from lib.sandboxes import agents, costs, ground, inside, learned, programs, table
from lib.supervisors import tree
from tests.contract.test_sandbox import HOLDS, REFUSED_WITHOUT
from tests.fuzz import corpus, mutate, targets
from tests.support import seccomp
from tests.support.probed import THROUGH, USER, World, without

RESULT = bench.FOLDER / "bench-sandbox.json"
PROBES_RESULT = bench.FOLDER / "sandbox-probes.md"
PEERS = ("bubblewrap", "systemd", "runsc")  # Debian's packages
LEAST_PROBES = 60
CALLS = 1_000_000
MANIFESTS = 100_000
AGENT = '[agent]\nexec = ["/usr/bin/python3"]\n'


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured. ``only`` names parts, empty for all."""

    rounds: int = 15
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What is measured together, and the ids of the goals that come of it."""

    goals: tuple[str, ...]
    measure: Callable[[Options], list[Goal]]


def at_least(one: Goal, bound: float) -> Goal:
    """The same goal, with a bound that its value must reach."""
    return replace(one, bound=bound, met=one.value is not None and one.value >= bound)


def probes(_: Options) -> list[Goal]:
    """Every probe in every sandbox."""
    print(", ".join(f"{name} {tree.version(name)}" for name in PEERS))
    with step("probes"):
        found = ground.ask("probes")
    return judged_probes(found)


def judged_probes(found: table.Found) -> list[Goal]:
    """The goals of the probes; prints the table, and leaves that of every probe in a file."""
    print(table.groups(found))
    with published(PROBES_RESULT) as file:
        file.write_text(table.whole(found) + "\n")
    print(PROBES_RESULT)
    broken = table.broken(found)
    for line in broken:
        print(line)
    columns = table.ran(found)
    counts = {name: float(len(table.through(each))) for name, each in columns.items()}
    own = columns.get(inside.OURS, {})
    unclear = [name for name, outcome in own.items() if outcome not in table.OUTCOMES]
    escapes = [counts[inside.OURS] + len(unclear)] if own else []
    peers = {"sandboxes": float(len(columns)), "broken": float(len(broken))}
    number = bench.goal("sandbox.probes", [len(own)] if own else [], "probes", None, peers)
    return [
        at_least(number, LEAST_PROBES),
        bench.goal("sandbox.escapes", escapes, "probes", 0, counts),
    ]


def false_denials(_: Options) -> list[Goal]:
    """Agents and ordinary programs that do otherwise in the sandbox."""
    wrong, same, missing = [], 0, 0
    with World() as world:
        for program in programs.read():
            try:
                difference = programs.compare(world, program)
            except FileNotFoundError as error:
                print(f"{program.name}: not run: {error}")
                missing += 1
                continue
            same += difference == programs.SAME
            if difference:
                wrong.append(f"{program.name}: {difference}")
    asked = 0
    for name, requests in agents.REQUESTS.items():
        with step(f"{name}, inside and outside"):
            wrong += agents.disagreements(name)
        asked += len(requests)
    for line in wrong:
        print(line)
    peers = {"programs alike": same, "requests": asked, "programs not run": missing}
    return [bench.goal("sandbox.false_denials", [len(wrong)], "", 0, peers)]


def mechanisms(_: Options) -> list[Goal]:
    """Each mechanism taken out, of the sandbox and of the kernel."""
    held = 0
    with World() as world:
        sandbox = world.sandbox()
        for mechanism, name in HOLDS.items():
            blocked = world.run(name, sandbox) != THROUGH
            passes = world.run(name, without(sandbox, mechanism)) == THROUGH
            held += blocked and passes
            if not (blocked and passes):
                print(f"{mechanism} holds nothing that is seen: {name}")
    whole = features.read()
    lacking = lacks(whole)
    refused = sum(map(is_refused, lacking))
    if is_refused(whole):
        raise HostError("this kernel lacks what a sandbox needs")
    alone = {"refused by the kernel": len(REFUSED_WITHOUT)}
    return [
        bench.goal("sandbox.mechanisms_idle", [len(HOLDS) - held], f"of {len(HOLDS)}", 0, alone),
        bench.goal(
            "sandbox.started_with_less", [len(lacking) - refused], f"of {len(lacking)} kernels", 0
        ),
    ]


def is_refused(kernel: Features) -> bool:
    """Whether PID 1 refuses to start an agent on such a kernel."""
    unit, _ = config.agent(AGENT, "a.toml", "a", "")
    child = Child(unit.exec, {}, output=2, user=USER)
    with tempfile.TemporaryDirectory() as root:
        try:
            confinement = Confinement(lambda: kernel, root, filter_devices=lambda group, code: None)
            confinement.lock(unit, child, None, [], bundle="")
        except RefusedError:
            return child.sandbox is None
    return False


def lacks(whole: Features) -> list[Features]:
    """This kernel, each time without one thing that a sandbox needs."""

    def kernel(**changes: object) -> Features:
        fields = {name: getattr(whole, name) for name in Features.__slots__}
        return Features(**{**fields, **changes})

    kinds = [kernel(namespaces=whole.namespaces - {kind}) for kind in sorted(whole.namespaces)]
    return [
        kernel(landlock=features.LANDLOCK_ABI - 1),
        kernel(filters=False),
        kernel(devices=False),
        kernel(memory=False),
        *(each for each in kinds if features.missing(Profile({}), each)),
    ]


def calls(_: Options) -> list[Goal]:
    """Random calls, of the compiled filter and of its rules."""
    with step("system calls"):
        compared, wrong = seccomp.compare(CALLS)
    return [bench.goal("sandbox.seccomp_calls", [wrong], f"of {compared:,} differ", 0)]


def parser_fuzz(_: Options) -> list[Goal]:
    """Tables ``[sandbox]``, mutated: a plan or findings with places, and nothing else."""
    head, *lines = corpus.SANDBOX.splitlines(keepends=True)
    made = mutate.mutations([corpus.SANDBOX, *(head + line for line in lines)], random.Random(0))
    failed, plans = 0, 0
    with step("manifests") as now:
        for number in range(MANIFESTS):
            data = corpus.AGENT + next(made)
            try:
                targets.unit_file(data)
                plans += not config.agent(data.decode("utf-8", "replace"), "a.toml", "a", "")[1]
            except Exception as error:  # noqa: BLE001 - any at all is what is looked for
                failed += 1
                print(f"{type(error).__name__}: {error}: {data!r}")
            if not number % 1000:
                now.update(number, MANIFESTS)
    peers = {"plans": float(plans), "refused": float(MANIFESTS - plans - failed)}
    return [bench.goal("sandbox.parser_fuzz", [failed], f"of {MANIFESTS:,}", 0, peers)]


PARTS = {
    "probes": Part(("sandbox.probes", "sandbox.escapes"), probes),
    "denials": Part(("sandbox.false_denials",), false_denials),
    "mechanisms": Part(("sandbox.mechanisms_idle", "sandbox.started_with_less"), mechanisms),
    "calls": Part(("sandbox.seccomp_calls",), calls),
    "fuzz": Part(("sandbox.parser_fuzz",), parser_fuzz),
    "starts": Part(("sandbox.start_vs_bwrap",), lambda chosen: costs.starts(chosen.rounds)),
    "ready": Part(("sandbox.ready_vs_plain",), lambda chosen: costs.ready(chosen.rounds)),
    "inference": Part(
        ("sandbox.inference_overhead_pct",), lambda chosen: costs.inference(chosen.rounds)
    ),
    "learned": Part(
        ("sandbox.learned_vs_hand", "sandbox.learned_denials"), lambda _: learned.goals()
    ),
}


def choose(only: Sequence[str]) -> dict[str, Part]:
    """The parts with these names, all for none. Raises HostError for an unknown one."""
    if unknown := [name for name in only if name not in PARTS]:
        raise HostError(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    return {name: part for name, part in PARTS.items() if not only or name in only}


def measured(part: Part, options: Options) -> list[Goal]:
    """Its goals; without a value when they could not be measured, with the reason printed."""
    try:
        return part.measure(options)
    except (HostError, AinosError, OSError) as error:
        print(f"{', '.join(part.goals)}: not measured: {error}")
        return [bench.goal(name, [], "") for name in part.goals]


def main(options: Options) -> int:
    """Run, and write the file; the exit status is 0 when every goal is met."""
    entries = [entry for part in choose(options.only).values() for entry in measured(part, options)]
    return bench.publish(RESULT, entries, merged=True)
