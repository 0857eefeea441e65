"""The long tests of trust. Stages: ``corruption`` (``soak_corruption``), and ``mutations``, two
million changed pieces of evidence, none of which the verifier may accept or fail at.

Half of them are bytes changed in transit, half are structures changed and signed anew with the AK
that was challenged (``tests.contract.attacks.mutations``). A batch has a seed, so that one is
repeated by its number. What was done is kept with the verifier that did it. The machine whose
evidence is changed has an EMULATED TPM.

    status = main(("mutations",), minutes=30, wanted=2_000_000, corruptions=10_000)
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from ainit.attest.enrol import Enrolment
from ainit.attest.verify import Trust, verify
from ainit.policy import phases
from lib import bench, soak_corruption
from lib.bench import Goal
from lib.host import BUILD, REPOSITORY, published
from lib.progress import step
from tests.contract.attacks.mutations import Mutator
from tests.unit.attest.machine import Machine, write_log
from tests.unit.attest.swtpm import Swtpm

STAGES = ("corruption", "mutations")
RESULT = bench.FOLDER / "soak-trust.json"
KEPT = BUILD / "soak/trust.json"
BATCH = 1_000
NICE = 5
GROWTH = 1.25  # twice the records take twice the time, and a quarter for what is not the log
SIZES = (1_000, 8_000)
ROUNDS = 9
_MEASURED = ("ainit/attest", "ainit/policy/phases.py", "ainit/wire", "tests/contract/attacks")
_TROUBLES_KEPT = 20


@dataclass
class Done:
    """What became of the mutations so far. ``troubles`` names batch and number of a few."""

    verifier: str
    batches: int = 0
    mutations: int = 0
    accepted: int = 0
    crashes: int = 0
    troubles: list[str] = field(default_factory=list)


def measured() -> str:
    """What tells one verifier from another: the digest of its sources and of the mutator's."""
    state = sha256()
    for name in _MEASURED:
        path = REPOSITORY / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            state.update(file.read_bytes())
    return state.hexdigest()[:16]


def kept() -> Done:
    """What former runs did with the same verifier."""
    if KEPT.exists():
        done = Done(**json.loads(KEPT.read_text(encoding="ascii")))
        if done.verifier == measured():
            return done
    return Done(measured())


def keep(done: Done) -> None:
    """Write it down."""
    with published(KEPT) as file:
        file.write_text(json.dumps(asdict(done), indent=1) + "\n", encoding="ascii")


def batch(honest: Enrolment, trust: Trust, seed: int) -> Done:
    """Judge one batch: half of it in transit, half by an insider."""
    done = Done("", batches=1)
    mutator = Mutator(honest, seed)
    own = replace(trust, nonce=honest.nonce)
    for number in range(BATCH):
        changed = mutator.by_insider() if number % 2 else mutator.in_transit()
        done.mutations += 1
        try:
            verdict = verify(changed.evidence, replace(own, activation=changed.activation))
        except Exception as error:  # noqa: BLE001 (a crash is what is looked for)
            done.crashes += 1
            done.troubles.append(f"batch {seed}, number {number}: {error!r}")
            continue
        if verdict.accepted:
            done.accepted += 1
            done.troubles.append(f"batch {seed}, number {number}: accepted")
    return done


def add(total: Done, part: Done) -> None:
    """Count a batch in."""
    total.batches += part.batches
    total.mutations += part.mutations
    total.accepted += part.accepted
    total.crashes += part.crashes
    total.troubles = [*total.troubles, *part.troubles][:_TROUBLES_KEPT]


def honest_machine() -> tuple[Enrolment, Trust]:
    """What one conversation with a machine as built brought, and what its verifier trusts."""
    with Swtpm() as tpm, tempfile.TemporaryDirectory() as directory:
        machine = Machine(tpm, Path(directory))
        machine.boot()
        answer = machine.enrol()
        trust = machine.trust(answer)
        assert verify(answer.evidence, trust).accepted
        return answer, trust


def mutate(minutes: float, wanted: int, honest: Enrolment, trust: Trust) -> Done:
    """Go on until the number is reached or the time is over."""
    done = kept()
    until = time.monotonic() + minutes * 60
    seeds = iter(range(done.batches, -(-wanted // BATCH)))
    with (
        step("changed evidence") as progress,
        ProcessPoolExecutor(os.cpu_count(), initializer=os.nice, initargs=(NICE,)) as pool,
    ):

        def next_ones(count: int) -> Iterator[Future[Done]]:
            for _ in range(count):
                if time.monotonic() < until and (seed := next(seeds, None)) is not None:
                    yield pool.submit(batch, honest, trust, seed)

        running = set(next_ones(os.cpu_count() or 1))
        while running:
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ready:
                add(done, future.result())
            keep(done)
            progress.update(done.mutations, wanted, f"{done.mutations} mutations")
            running |= set(next_ones(len(ready)))
        progress.note(f"{done.mutations} mutations")
    return done


def growth(honest: Enrolment, trust: Trust) -> list[float]:
    """The time of a verdict by the length of the log: that of the longer, over eight of the
    shorter, in interleaved rounds.
    """
    evidences = [replace(honest.evidence, log_cel=_long_log(size)) for size in SIZES]
    ratios = []
    for _ in range(ROUNDS):
        seconds = []
        for evidence in evidences:
            began = time.process_time()
            verify(evidence, trust)
            seconds.append(time.process_time() - began)
        ratios.append(seconds[1] / seconds[0] / (SIZES[1] / SIZES[0]))
    return [round(ratio, 3) for ratio in ratios]


def _long_log(size: int) -> bytes:
    models = [
        phases.measured("model", f"m{number}", "sha256:" + sha256(b"%d" % number).hexdigest())
        for number in range(size)
    ]
    config = phases.measured("machine-config", "machine", "sha256:" + "0" * 64)
    return write_log([phases.booted(7, 0), *phases.boot_set(config, models, [])])


def goals(done: Done, ratios: list[float], wanted: int) -> list[Goal]:
    """The entries."""
    mutations = bench.goal("trust.mutations", [done.mutations], "pieces of evidence")
    return [
        Goal(**{**asdict(mutations), "bound": wanted, "met": done.mutations >= wanted}),
        bench.goal("trust.false_accepts", [done.accepted], "", 0.0),
        bench.goal("trust.crashes", [done.crashes], "", 0.0),
        bench.goal("trust.time_growth", ratios, "of linear", GROWTH),
    ]


def mutations(minutes: float, wanted: int) -> list[Goal]:
    """The stage of that name."""
    honest, trust = honest_machine()
    ratios = growth(honest, trust)
    done = mutate(minutes, wanted, honest, trust)
    for trouble in done.troubles:
        print(trouble)
    return goals(done, ratios, wanted)


def main(stages: Sequence[str], *, minutes: float, wanted: int, corruptions: int) -> int:
    """Run stages, and write the file; the exit status is 0 when every goal is met."""
    entries: list[Goal] = []
    if "corruption" in stages:
        entries += soak_corruption.main(corruptions)
    if "mutations" in stages:
        entries += mutations(minutes, wanted)
    return bench.publish(RESULT, entries, merged=True)
