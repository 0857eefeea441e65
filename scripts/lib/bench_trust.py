"""What is shown of trust in figures: attacks and honest machines, whether two verifiers agree, what
a quote costs, what a slow TPM does to the boot, and how files are measured.

TPMs are EMULATED (swtpm), and so are the processors of the machines that boot.

    status = main(machines=100)
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

from ainit.attest import pcrs
from ainit.attest.acceptance import Policy
from ainit.attest.golden import Artefact
from ainit.attest.quote import AttestationTpm
from ainit.attest.templates import ak_template
from ainit.attest.tpms import RH_ENDORSEMENT
from ainit.attest.verify import verify
from ainit.linux.tpm import (
    EMPTY_PASSWORD,
    NO_SESSIONS,
    SESSIONS,
    command,
    selection,
    session_area,
)
from ainit.policy import phases
from lib import bench, bench_measuring, drive
from lib.bench import Goal
from lib.host import REPOSITORY, HostError
from lib.progress import step
from lib.qemu import Hardware
from tests.contract.attacks.mutations import Mutator
from tests.contract.attacks.second import agree, second_of
from tests.unit.attest.machine import MODELS, Machine, boot_set, digest
from tests.unit.attest.swtpm import Swtpm

RESULT = bench.FOLDER / "bench-trust.json"
ATTACKS = REPOSITORY / "tests/contract/attacks/test_attacks.py"
LEAST_ATTACKS = 60
_CASE = "test_it_fails_and_would_succeed_without_the_check"
_DEADLINE_SECONDS = 1800.0
ANSWERS, _ANSWERS_A_BOOT = 1_000, 10
ROUNDS, QUOTES = 9, 20
BOOTS, DELAY_S, EXTENDS = 3, 0.02, 32
_CREATE_PRIMARY, _QUOTE, _FLUSH = 0x131, 0x158, 0x165


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


def agreement(count: int) -> int:
    """Of so many answers, on how many our verifier and the second one disagree: a tenth is honest,
    the rest changed on the way or by somebody who holds the AK.
    """
    disagreed = 0
    with Swtpm() as tpm, tempfile.TemporaryDirectory() as folder, step("two verifiers") as now:
        machine = Machine(tpm, Path(folder))
        second = second_of(machine, Path(folder) / "second")
        for start in range(0, count, _ANSWERS_A_BOOT):
            machine.boot()
            honest = machine.enrol()
            mutator = Mutator(honest, start)
            for number in range(start, min(start + _ANSWERS_A_BOOT, count)):
                answer = honest
                if number > start:
                    answer = mutator.by_insider() if number % 2 else mutator.in_transit()
                ours, theirs = agree(second, machine, answer)
                disagreed += ours != theirs or ours != (number == start)
            now.update(start + _ANSWERS_A_BOOT, count)
    return disagreed


def quote_overhead() -> tuple[list[float], dict[str, float]]:
    """A quote of ours over the bare command, in interleaved rounds: medians of each. swtpm answers
    in less than a millisecond, a chip takes a hundred times that; what is ours is the difference.
    """
    ratios, differences = [], []
    with Swtpm() as tpm, step("quotes") as now:
        for number in range(ROUNDS):
            with AttestationTpm(tpm.tcti) as ours:
                ours.quote(bytes(32), pcrs.QUOTED)  # makes the key
                mine = [_seconds(ours.quote, bytes(32), pcrs.QUOTED) for _ in range(QUOTES)]
            with tpm.connection() as send:
                key = _made(send(create_command()))
                asked = quote_command(key, bytes(32))
                bare = [_seconds(send, asked) for _ in range(QUOTES)]
                send(command(NO_SESSIONS, _FLUSH, key))
            own, others = statistics.median(mine), statistics.median(bare)
            ratios.append(round(own / others, 3))
            differences.append((own - others) * 1000)
            now.update(number + 1, ROUNDS)
    return ratios, {"ours_ms": round(statistics.median(differences), 3)}


def create_command() -> bytes:
    """TPM2_CreatePrimary of the AK."""
    sensitive = bytes.fromhex("000400000000")
    body = RH_ENDORSEMENT.to_bytes(4, "big") + session_area(EMPTY_PASSWORD)
    return command(SESSIONS, _CREATE_PRIMARY, body + sensitive + ak_template() + bytes(6))


def quote_command(key: bytes, nonce: bytes) -> bytes:
    """TPM2_Quote over the PCRs that are quoted."""
    body = key + session_area(EMPTY_PASSWORD) + len(nonce).to_bytes(2, "big") + nonce
    return command(SESSIONS, _QUOTE, body + b"\0\x10" + selection(pcrs.QUOTED))


def _made(answer: bytes) -> bytes:
    if answer[6:10] != bytes(4):
        raise HostError(f"the TPM refused: {answer.hex()}")
    return answer[10:14]


def _seconds(act: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    act(*arguments)
    return time.perf_counter() - began


def slow_boots() -> tuple[list[float], dict[str, float]]:
    """How much longer a boot takes when every TPM command takes 20 ms longer, from the kernel's
    start to the last agent ready, as a share of what it may: 32 such commands and a tenth.
    """
    taken: dict[float, list[float]] = {0.0: [], DELAY_S: []}
    for number in range(BOOTS):
        for delay_s, seconds in taken.items():
            what = f"boot {number + 1} of {BOOTS}, TPM + {delay_s * 1000:.0f} ms"
            with tempfile.TemporaryDirectory(prefix="ainos-") as folder, step(what) as now:
                status = bench.boot(drive.IMAGE, Path(folder), Hardware(tpm_delay_s=delay_s))
                found = bench.phases(status)
                seconds.append(sum(found[name] for name in bench.INSIDE))
                now.note(f"{seconds[-1]:.2f} s")
    usual, slow = taken.values()
    shares = [
        round((after - before) / (EXTENDS * DELAY_S + before / 10), 3)
        for before, after in zip(usual, slow, strict=True)
    ]
    return shares, {"usual_s": statistics.median(usual), "slow_s": statistics.median(slow)}


def main(machines: int) -> int:
    """Run, and write the file; the exit status is 0 when every goal is met."""
    with step("attacks") as now:
        count, failed = attacks()
        now.note(f"{count} attacks, {failed} accepted or not shown")
    accepted = honest(machines)
    shares, boots = slow_boots()
    quotes, ours = quote_overhead()
    share = bench.goal("trust.honest_accepted_pct", [100 * accepted / machines], "%")
    number = bench.goal("trust.attacks", [count], "attacks")
    entries = [
        Goal(**{**asdict(number), "bound": LEAST_ATTACKS, "met": count >= LEAST_ATTACKS}),
        bench.goal("trust.accepted", [failed], "", 0.0),
        Goal(**{**asdict(share), "bound": 100.0, "met": accepted == machines}),
        bench.goal("trust.verifiers_disagree", [agreement(ANSWERS)], f"of {ANSWERS}", 0.0),
        bench.goal("trust.quote_overhead", quotes, "of the bare command", 1.2, ours),
        bench.goal("trust.slow_tpm_boot", shares, "of what it may", 1.0, boots),
        *bench_measuring.main(),
    ]
    return bench.publish(RESULT, entries, merged=True)
