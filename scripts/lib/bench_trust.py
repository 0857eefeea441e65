"""What is shown of trust in figures: attacks and honest machines.

TPMs are EMULATED (swtpm).

    status = main(machines=100)
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

from ainit.attest.acceptance import Policy
from ainit.attest.golden import Artefact
from ainit.attest.verify import verify
from ainit.policy import phases
from lib import bench
from lib.bench import Goal
from lib.host import REPOSITORY, HostError
from lib.progress import step
from tests.unit.attest.machine import MODELS, Machine, boot_set, digest
from tests.unit.attest.swtpm import Swtpm

RESULT = bench.FOLDER / "bench-trust.json"
ATTACKS = REPOSITORY / "tests/contract/attacks/test_attacks.py"
LEAST_ATTACKS = 60
_CASE = "test_it_fails_and_would_succeed_without_the_check"
_DEADLINE_SECONDS = 1800.0


def attacks() -> tuple[int, int]:
    """How many attacks there are, and how many were accepted or prove nothing."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "attacks.xml"
        command = [sys.executable, "-m", "pytest", "-q", str(ATTACKS), f"--junitxml={result}"]
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, timeout=_DEADLINE_SECONDS, check=False
        )
        if not result.exists():
            raise HostError(f"the attacks did not run:\n{done.stdout.decode()[-2000:]}")
        cases = [
            case
            for case in ElementTree.parse(result).iter("testcase")
            if case.get("name", "").startswith(_CASE)
        ]
    failed = sum(any(child.tag in ("failure", "error") for child in case) for case in cases)
    return len(cases), failed


def honest(count: int) -> int:
    """How many of so many honest machines are accepted: each boots anew, some with more models."""
    draw = random.Random(5)
    accepted = 0
    with Swtpm() as tpm, tempfile.TemporaryDirectory() as folder, step("honest machines") as now:
        machine = Machine(tpm, Path(folder))
        for number in range(count):
            extra = [
                phases.measured("model", f"m{each}", digest("0123456789"[each]))
                for each in range(draw.randrange(4))
            ]
            late = [phases.measured("policy", "late", digest("9"))] * draw.randrange(2)
            machine.boot(events=[*boot_set(models=[*MODELS, *extra]), *late])
            answer = machine.enrol()
            trust = machine.trust(answer)
            added = frozenset(
                Artefact(*(str(event.content[key]) for key in ("type", "name", "digest")))
                for event in (*extra, *late)
            )
            policy = Policy(trust.policy.images, artefacts=added)
            accepted += verify(answer.evidence, replace(trust, policy=policy)).accepted
            now.update(number + 1, count)
    return accepted


def main(machines: int) -> int:
    """Run, and write the file; the exit status is 0 when every goal is met."""
    with step("attacks") as now:
        count, failed = attacks()
        now.note(f"{count} attacks, {failed} accepted or not shown")
    accepted = honest(machines)
    share = bench.goal("trust.honest_accepted_pct", [100 * accepted / machines], "%")
    number = bench.goal("trust.attacks", [count], "attacks")
    entries = [
        Goal(**{**asdict(number), "bound": LEAST_ATTACKS, "met": count >= LEAST_ATTACKS}),
        bench.goal("trust.accepted", [failed], "", 0.0),
        Goal(**{**asdict(share), "bound": 100.0, "met": accepted == machines}),
    ]
    return bench.publish(RESULT, entries, merged=True)
