"""The bench of the sandbox: tables, verdicts, and what other sandboxes are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lib import bench, bench_sandbox
from lib.bench_sandbox import PARTS, Options, Part
from lib.host import HostError
from lib.sandboxes import costs, inside, peers, programs, table

from ainit.policy import sandbox_config
from ainit.sandbox.features import Features
from tests.support.probed import BLOCKED, KILLED, THROUGH
from tests.support.probes import PROBES


@pytest.fixture(autouse=True)
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("RESULT", "PROBES_RESULT"):
        monkeypatch.setattr(bench_sandbox, name, tmp_path / name)
    monkeypatch.setattr(bench, "commit", lambda: "0" * 40)
    return tmp_path


def found(outcome: str = BLOCKED, **others: str) -> dict[str, dict[str, str] | str]:
    own = {**dict.fromkeys(PROBES, BLOCKED), **others}
    other = dict.fromkeys(PROBES, outcome)
    return {inside.OURS: own, inside.BWRAP: other, inside.GVISOR: "no such program"}


def test_every_probe_is_in_one_group() -> None:
    members = table.members()
    assert list(members) == list(table.GROUPS)
    assert [name for names in members.values() for name in names] == list(PROBES)
    assert "disk" in members["devices"]
    assert "reboot" in members["kernel"]


def test_a_table_counts_what_got_through_and_names_what_did_not_run() -> None:
    text = table.groups(found(THROUGH))
    total = len(PROBES)
    assert f"| all | 0/{total} | {total}/{total} |" in text
    assert "gVisor: not run: no such program" in text
    assert "| disk | blocked | through |" in table.whole(found(THROUGH))


def test_one_escape_is_one_too_many() -> None:
    probes, escapes = bench_sandbox.judged_probes(found(KILLED))
    assert (probes.value, probes.met, escapes.value, escapes.met) == (len(PROBES), True, 0, True)
    _, escapes = bench_sandbox.judged_probes(found(disk=THROUGH))
    assert (escapes.value, escapes.met) == (1, False)


def test_a_probe_that_is_broken_is_no_proof() -> None:
    _, escapes = bench_sandbox.judged_probes(found(disk="status 1: KeyError"))
    assert (escapes.value, escapes.met) == (1, False)


def test_a_sandbox_that_did_not_run_has_no_value() -> None:
    probes, escapes = bench_sandbox.judged_probes({inside.OURS: "it did not start"})
    assert (probes.value, probes.met, escapes.value, escapes.met) == (None, False, None, False)


def test_the_plain_start_is_taken_off_both_sides() -> None:
    seconds = {"plain": [0.001, 0.003], inside.OURS: [0.003, 0.005], inside.BWRAP: [0.005, 0.007]}
    goal = costs.judged_starts(seconds)
    assert (goal.samples, goal.value, goal.met) == ([0.5, 0.5], 0.5, True)
    assert goal.peers == {"plain, ms": 2, "ainit, ms": 4, "bubblewrap, ms": 6}


def test_what_cannot_be_measured_is_an_entry_that_is_missed() -> None:
    def fails(_: Options) -> list[bench.Goal]:
        raise HostError("no root for it")

    [goal] = bench_sandbox.measured(Part(("sandbox.escapes",), fails), Options())
    assert (goal.goal, goal.value, goal.met) == ("sandbox.escapes", None, False)


def test_parts_are_chosen_by_name() -> None:
    assert list(bench_sandbox.choose(())) == list(PARTS)
    assert list(bench_sandbox.choose(("starts", "probes"))) == ["probes", "starts"]
    with pytest.raises(HostError, match="no part speed; there are: probes,"):
        bench_sandbox.choose(("speed",))


def test_a_kernel_lacks_one_thing_at_a_time() -> None:
    kinds = frozenset({"mnt", "pid", "ipc", "uts", "cgroup", "net", "user", "time"})
    lacking = bench_sandbox.lacks(Features(6, True, kinds, True, frozenset(), devices=True))
    assert len(lacking) == 4 + len(kinds) - 1  # nobody needs a time of its own


def test_an_agent_is_refused_on_each_of_these_kernels() -> None:
    whole = Features(6, True, frozenset({"mnt", "pid", "ipc", "uts", "cgroup", "net", "user"}),
                     True, frozenset(), devices=True)  # fmt: skip
    assert not bench_sandbox.is_refused(whole)
    assert all(map(bench_sandbox.is_refused, bench_sandbox.lacks(whole)))


def test_bubblewrap_is_given_what_an_agent_has() -> None:
    command = peers.bubblewrap(61184, ["/etc"], 4)
    assert command[-3:] == ["--seccomp", "4", "--"]
    assert command.index("--tmpfs") < command.index("--ro-bind")  # nothing covers what is bound
    assert "--seccomp" not in peers.bubblewrap(61184, ["/etc"])


def test_gvisor_s_bundle_has_no_capabilities() -> None:
    record = json.loads(json.dumps(peers.gvisor(61184, ["/a"], [], "/root", ["/etc"])))
    assert not any(record["process"]["capabilities"].values())
    assert record["process"]["user"] == {"uid": 61184, "gid": 61184}
    assert {"destination": "/etc", "source": "/etc", "type": "bind", "options": ["bind", "ro"]} in (
        record["mounts"]
    )


def test_the_unit_of_systemd_names_no_option_twice() -> None:
    text = peers.systemd("/root", ["/etc"], "/dev/pts/1", "/run/env")
    keys = [line.split("=")[0] for line in text.splitlines() if "=" in line]
    assert {key for key in keys if keys.count(key) > 1} == {"SystemCallFilter"}
    assert "BindReadOnlyPaths=/etc\n" in text


def test_the_profiles_of_the_programs_are_ones_that_a_manifest_may_have() -> None:
    known = programs.read()
    assert len({each.name for each in known}) == len(known) >= 15
    for each in known:
        assert bool(each.python) != bool(each.shell)
        assert each.sandbox.keys() <= sandbox_config.KEYS.keys()
