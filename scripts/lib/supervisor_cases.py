"""The behaviour cases that were ported from other supervisors' tests: run, counted, and as a table.

Each case is a test in ``tests/pidns/cases`` that carries the name of where it comes from. Leaves
out what they test. ``python -m lib.supervisor_cases`` in ``scripts/`` writes docs/cases.md.

    found = run()                         # Cases(cases=305, failed=0)
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from lib.host import REPOSITORY, HostError, published

FOLDER = REPOSITORY / "tests/pidns/cases"
DOCUMENT = REPOSITORY / "docs/cases.md"
LEAST = 150
DEADLINE_SECONDS = 3600.0
PEERS = ("systemd", "s6", "dinit", "finit")

# What a case's name begins with → where it comes from, and which peers have keys to express it. The
# longest beginning counts.
ORIGINS: dict[str, tuple[str, str]] = {
    "systemd_execute": ("systemd test-execute", "systemd s6 dinit finit"),
    "systemd_execute_exec_umask": ("systemd test-execute", "systemd s6"),
    "systemd_execute_exec_oomscore": ("systemd test-execute", "systemd dinit"),
    "systemd_execute_oom": ("systemd test-execute", "systemd dinit"),
    "systemd_execute_exec_capability": ("systemd test-execute", "systemd dinit"),
    "systemd_execute_exec_ambient": ("systemd test-execute", "systemd dinit"),
    "systemd_execute_no_new_privileges": ("systemd test-execute", "systemd dinit"),
    "systemd_execute_exec_supplementary": ("systemd test-execute", "systemd s6"),
    "systemd_05_rlimits": ("systemd TEST-05-RLIMITS", "systemd s6 dinit finit"),
    "systemd_54_creds": ("systemd TEST-54-CREDS", "systemd"),
    "systemd_80_notifyaccess": ("systemd TEST-80-NOTIFYACCESS", "systemd"),
    "systemd_80_notifyaccess_ready_twice": ("systemd TEST-80-NOTIFYACCESS", " ".join(PEERS)),
    "systemd_80_notifyaccess_never_ready": ("systemd TEST-80-NOTIFYACCESS", " ".join(PEERS)),
    "systemd_80_notifyaccess_fdstore": ("systemd TEST-80-NOTIFYACCESS", "systemd s6"),
    "systemd_80_notifyaccess_fdstoreremove": ("systemd TEST-80-NOTIFYACCESS", "systemd s6"),
    "systemd_16_extend_timeout": ("systemd TEST-16-EXTEND-TIMEOUT", "systemd"),
    "systemd_59_reloading_restart": ("systemd TEST-59-RELOADING-RESTART", "systemd"),
    "systemd_07_pid1": ("systemd TEST-07-PID1", "systemd"),
    "systemd_07_pid1_working_directory": ("systemd TEST-07-PID1", "systemd s6 dinit finit"),
    "systemd_07_pid1_exec_context": ("systemd TEST-07-PID1", "systemd s6 dinit finit"),
    "systemd_07_pid1_issue_3166": ("systemd TEST-07-PID1", "systemd s6 dinit finit"),
    "systemd_07_pid1_issue_16115": ("systemd TEST-07-PID1", "systemd s6 dinit finit"),
    "systemd_07_pid1_main_pid_change": ("systemd TEST-07-PID1", "systemd finit"),
    "systemd_07_pid1_reloading_signal": ("systemd TEST-07-PID1", "systemd s6 dinit finit"),
    "systemd_07_pid1_start_limit": ("systemd TEST-07-PID1", "systemd s6 dinit finit"),
    "systemd_07_pid1_start_limit_reexec": ("systemd TEST-07-PID1", "systemd"),
    "systemd_07_pid1_concurrency": ("systemd TEST-07-PID1", "systemd s6 dinit finit"),
    "systemd_07_pid1_type_exec_parallel": ("systemd TEST-07-PID1", "systemd s6 dinit finit"),
    "systemd_07_pid1_mask": ("systemd TEST-07-PID1", "systemd s6 dinit finit"),
    "systemd_07_pid1_reload_count": ("systemd TEST-07-PID1", "systemd dinit finit"),
    "systemd_07_pid1_multi_units_transaction": ("systemd TEST-07-PID1", "systemd dinit finit"),
    "systemd_07_pid1_multi_units_transaction_invalid": ("systemd TEST-07-PID1", ""),
    "systemd_07_pid1_socket_kept": ("systemd TEST-07-PID1", "systemd s6 dinit"),
    "systemd_03_jobs": ("systemd TEST-03-JOBS", "systemd dinit"),
    "systemd_03_jobs_daemon_reexec": ("systemd TEST-03-JOBS", "systemd"),
    "systemd_03_jobs_transactions_with_cycles": ("systemd TEST-03-JOBS", "systemd s6 dinit"),
    "systemd_18_failureaction": ("systemd TEST-18-FAILUREACTION", "systemd finit"),
    "systemd_23_unit_file": ("systemd TEST-23-UNIT-FILE", "systemd s6 dinit finit"),
    "systemd_38_freezer": ("systemd TEST-38-FREEZER", "systemd"),
    "systemd_unit_conflicts": ("systemd.unit(5), Conflicts=", "systemd finit"),
    "systemd_unit_binds_to": ("systemd.unit(5), BindsTo=", "systemd"),
    "systemd_service_watchdog": ("systemd.service(5), WatchdogSec=", "systemd"),
    "systemd_service_stopping": ("sd_notify(3), STOPPING=1", "systemd"),
    "systemd_service_probe": ("systemd.service(5), beyond it", ""),
    "systemd_service_probe_readiness": ("systemd.service(5), beyond it", "s6 finit"),
    "systemd_path": ("systemd test-path", "systemd"),
    "systemd_63_path": ("systemd TEST-63-PATH", "systemd"),
    "systemd_socket": ("systemd.socket(5)", "systemd s6 dinit"),
    "systemd_socket_activation": ("systemd.socket(5), sd_listen_fds(3)", "systemd"),
    "systemd_timer": ("systemd.timer(5)", "systemd"),
    "systemd_52_honorfirstshutdown": ("systemd TEST-52-HONORFIRSTSHUTDOWN", "systemd"),
    "systemd_69_shutdown": ("systemd TEST-69-SHUTDOWN", "systemd s6 dinit finit"),
    "systemd_69_shutdown_crash": ("systemd TEST-69-SHUTDOWN", ""),
    "systemd_69_shutdown_conflicts": ("systemd TEST-69-SHUTDOWN", "systemd finit"),
    "systemd_69_shutdown_frozen": ("systemd TEST-69-SHUTDOWN", "systemd"),
    "systemd_69_shutdown_kexec": ("systemd TEST-69-SHUTDOWN", "systemd"),
    "systemd_82_softreboot": ("systemd TEST-82-SOFTREBOOT", "systemd"),
    "systemd_crash_handler": ("systemd's crash handler, beyond it", ""),
    "systemd_reexec": ("systemd daemon-reexec", "systemd"),
    "systemd_reload_revert": ("systemd daemon-reload, beyond it", ""),
    "systemd_reload_confirm": ("systemd daemon-reload, beyond it", ""),
    "dinit_igr": ("dinit src/igr-tests", "systemd s6 dinit finit"),
    "dinit_igr_check": ("dinit src/igr-tests", "systemd dinit"),
    "dinit_igr_cycles": ("dinit src/igr-tests", "systemd s6 dinit"),
    "dinit_igr_pseudo_cycle": ("dinit src/igr-tests", "systemd dinit"),
    "dinit_igr_dep_not_found": ("dinit src/igr-tests", "systemd s6 dinit"),
    "dinit_igr_force_stop": ("dinit src/igr-tests", "systemd s6 dinit"),
    "dinit_igr_before_after": ("dinit src/igr-tests", "systemd dinit"),
    "dinit_igr_reload": ("dinit src/igr-tests", "systemd dinit finit"),
    "dinit_igr_add_rm_dep": ("dinit src/igr-tests", "systemd dinit"),
    "dinit_basic": ("dinit src/tests", "systemd s6 dinit"),
    "dinit_test": ("dinit src/tests", "systemd dinit"),
    "dinit_test_proc": ("dinit src/tests", "systemd s6 dinit finit"),
    "dinit_test_term": ("dinit src/tests", "systemd s6 dinit finit"),
    "dinit_test_bgproc": ("dinit src/tests", "systemd dinit finit"),
    "finit": ("finit test/", "systemd s6 dinit finit"),
    "finit_add_remove_dynamic_service": ("finit test/", "systemd dinit finit"),
    "finit_depserv": ("finit test/", "systemd s6 dinit finit"),
    "finit_failing_sysv": ("finit test/", "systemd dinit finit"),
    "finit_start_stop_sysv": ("finit test/", "systemd dinit finit"),
    "finit_forking": ("finit test/", "systemd dinit finit"),
    "finit_crashing_backoff": ("finit test/", "systemd"),
    "tini": ("tini test/run_inner_tests.py", "systemd s6 dinit finit"),
}


@dataclass(frozen=True, slots=True)
class Cases:
    """How many cases there are, a case with parameters counted once for each, and how many of them
    failed.
    """

    cases: int
    failed: int


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table. ``peers`` are those that can express it."""

    name: str
    origin: str
    shows: str
    peers: tuple[str, ...]


def run(folder: Path = FOLDER) -> Cases:
    """Run them all. Raises HostError when there is no report of it."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", str(folder)]
        command.append(f"--junitxml={report}")
        try:
            ended = subprocess.run(
                command, cwd=REPOSITORY, check=False, timeout=DEADLINE_SECONDS,
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise HostError(f"the cases did not end in {DEADLINE_SECONDS:g} s") from error
        if not report.exists():
            raise HostError(f"the cases could not be run:\n{ended.stdout[-2000:]}")
        found = counted(report.read_text(encoding="utf-8"))
        if found.failed:
            print(ended.stdout[-20000:])
        return found


def counted(report: str) -> Cases:
    """The count of a report in JUnit's form. A case that was left out counts as failed."""
    cases = failed = 0
    for case in ElementTree.fromstring(report).iter("testcase"):
        cases += 1
        failed += any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
    return Cases(cases, failed)


def listed(folder: Path = FOLDER) -> Iterator[Case]:
    """Every case, file by file. Raises HostError for one without an origin or a docstring."""
    for path in sorted(folder.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            name = node.name.removeprefix("test_")
            shows = (ast.get_docstring(node) or "").split("\n\n", 1)[0].replace("\n", " ")
            begins = [one for one in ORIGINS if name == one or name.startswith(one)]
            if not begins or not shows:
                raise HostError(f"{path}:{node.lineno}: {node.name} has no origin or docstring")
            origin, peers = ORIGINS[max(begins, key=len)]
            yield Case(name, origin, shows, tuple(peers.split()))


def table(cases: list[Case]) -> str:
    """docs/cases.md."""
    totals = ", ".join(f"{peer} {sum(peer in one.peers for one in cases)}" for peer in PEERS)
    lines = [
        "# Cases ported from other supervisors",
        "",
        "Each case is a test in `tests/pidns/cases` of the same name (with `test_` before it): the",
        "behaviour that an upstream test is about, written anew for ainit as PID 1 of namespaces.",
        "`build/venv/bin/python -m pytest tests/pidns/cases` runs them, `make test` does, too.",
        "",
        "The last columns say which supervisors (s6 with s6-rc) have the means to be given the",
        "case at all, by our own estimate; it was not run against them. The origin",
        "is the upstream test, or the manual page of what has no test there that stands alone.",
        "*Beyond it* marks what no upstream does.",
        "",
        f"{len(cases)} cases, some of them with several parameters. Expressible: {totals}.",
        "",
        "| case | origin | shows | " + " | ".join(PEERS) + " |",
        "|---|---|---|" + "---|" * len(PEERS),
    ]
    for one in cases:
        marks = " | ".join("yes" if peer in one.peers else "" for peer in PEERS)
        lines.append(f"| `{one.name}` | {one.origin} | {one.shows} | {marks} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with published(DOCUMENT) as file:
        file.write_text(table(list(listed())), encoding="utf-8")
