"""What somebody has run becomes a unit, or everything that is wrong with it."""

from __future__ import annotations

import pytest

from ainit.policy import jobs, plan, sandbox
from ainit.policy.plan import Unit

TRAIN: dict[str, object] = {"command": ["/usr/bin/train", "-v"], "profiles": ["2g.20gb", "3g.40gb"]}


def made(**more: object) -> Unit:
    unit, findings = jobs.job({**TRAIN, **more}, "train", 64500)
    assert findings == []
    return unit


def wrong(**more: object) -> list[str]:
    return jobs.job({**TRAIN, **more}, "train", 64500)[1]


def test_a_job_is_a_unit_that_is_held_to_what_was_measured() -> None:
    unit = made()
    assert (unit.name, unit.kind, unit.exec) == ("train.job", plan.JOB, ["/usr/bin/train", "-v"])
    assert unit.kind in plan.CONFINED
    assert unit.measurement == plan.REQUIRED
    assert unit.user == 64500
    assert unit.capabilities is None  # all of root's, and it is not root
    assert (unit.restart, unit.essential, unit.autostart) == (plan.NEVER, False, False)
    assert Unit.from_record(unit.to_record()).to_record() == unit.to_record()


def test_it_is_in_a_sandbox_if_it_says_so() -> None:
    assert sandbox.of(made()) is None
    tightest = sandbox.of(made(sandbox={}))
    assert tightest is not None
    assert (tightest.network, tightest.read, tightest.has_gpu) == ("none", (), True)
    unit = made(sandbox={"read": ["/srv/images"], "system_calls": ["processes"]})
    profile = sandbox.of(Unit.from_record(unit.to_record()))
    assert profile is not None
    assert (profile.read, profile.system_calls) == (("/srv/images",), ("processes",))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("tight", "is a table"),
        ({"reads": []}, "reads means nothing for a job"),
        ({"read": "/srv"}, "read is a list"),
        ({"write": ["srv"]}, "write is a list"),
        ({"execute": ["/srv/../etc"]}, "execute is a list"),
        ({"read": ["/"]}, "read is a list"),
        ({"read": [3]}, "read is a list"),
        ({"read": ["/a\0b"]}, "read is a list"),
        ({"execute_written": 1}, "execute_written is a boolean"),
        ({"system_calls": ["everything"]}, "system_calls is a list"),
        ({"system_calls": [[]]}, "system_calls is a list"),
        ({"network": "all"}, "a job's network is"),
        ({"network": ["192.0.2.7:443"]}, "a job's network is"),
        ({"network": ["agent:speech"]}, "a job's network is"),
        ({"network": None}, "a job's network is"),
    ],
)
def test_a_sandbox_that_is_none_is_a_finding(record: object, words: str) -> None:
    (finding,) = wrong(sandbox=record)
    assert finding.startswith(f"sandbox: {words}")


def test_what_it_asks_for_arrives() -> None:
    unit = made(
        speeds={"2g.20gb": 0.5},
        priority=-3,
        estimate_s=1800,
        memory_bytes=1 << 30,
        cpus=2.5,
        models=["base"],
        extensions=["cuda"],
        environment={"SEED": "7"},
    )
    assert unit.gpu_profiles == ["2g.20gb", "3g.40gb"]
    assert (unit.gpu_profile, unit.gpu_speeds) == ("2g.20gb", {"2g.20gb": 0.5})
    assert (unit.gpu_priority, unit.gpu_estimate) == (-3, 1800)
    assert (unit.memory_max, unit.cpu_max) == (1 << 30, 250)
    assert (unit.models, unit.extensions) == (["base"], ["cuda"])
    assert unit.environment == {"SEED": "7"}


@pytest.mark.parametrize(
    ("more", "finding"),
    [
        ({"command": []}, "command is a list"),
        ({"command": None}, "command is a list"),
        ({"command": ["/bin/a", "b\0c"]}, "command is a list"),
        ({"command": ["/bin/a"] * 300}, "command is a list"),
        ({"command": ["train"]}, "does not lie on the verified root"),
        ({"command": ["/tmp/train"]}, "does not lie on the verified root"),
        ({"command": ["/usr//bin/train"]}, "does not lie on the verified root"),
        ({"command": ["/usr/bin/../../tmp/train"]}, "does not lie on the verified root"),
        ({"command": ["/run/ainit/extensions/cuda/train"]}, "does not lie on the verified root"),
        ({"profiles": []}, "profiles is a list"),
        ({"profiles": ["1g.10gb"] * 2}, "profiles names one twice"),
        ({"profiles": ["all"]}, "'all' is no MIG profile"),
        ({"speeds": {"2g.20gb": 2}}, "speeds has '2g.20gb'"),
        ({"speeds": {"2g.20gb": True}}, "speeds has '2g.20gb'"),
        ({"priority": 101}, "priority is a number from -100 to 100"),
        ({"priority": True}, "priority is a number"),
        ({"estimate_s": float("nan")}, "estimate_s is a number"),
        ({"memory_bytes": 1}, "memory_bytes is a number"),
        ({"cpus": 0}, "cpus is a number"),
        ({"environment": {"A": 1}}, "environment has 'A'"),
        ({"environment": {"AINOS_UNIT": "x"}}, "environment has 'AINOS_UNIT'"),
        ({"environment": {"CUDA_VISIBLE_DEVICES": "0"}}, "environment has 'CUDA_VISIBLE_DEVICES'"),
        ({"environment": []}, "environment is a table"),
    ],
)
def test_what_is_wrong(more: dict[str, object], finding: str) -> None:
    assert any(finding in each for each in wrong(**more)), wrong(**more)


@pytest.mark.parametrize("name", ["", "A", "-a", "a.b", "a/b", "a" * 33, "ä"])
def test_a_name_that_is_none(name: str) -> None:
    assert "is no name" in jobs.job(TRAIN, name, 64500)[1][0]


def test_a_program_of_an_extension_that_it_names() -> None:
    made(command=["/run/ainit/extensions/cuda/bin/train"], extensions=["cuda"])
    around = ["/run/ainit/extensions/cuda/../x/train"]
    assert wrong(command=around, extensions=["cuda"])
    assert wrong(command=["/run/ainit/extensions/cudax/train"], extensions=["cuda"])


def test_the_same_is_measured_once_and_anything_else_anew() -> None:
    first = jobs.event(made())
    assert first.pcr == 12
    assert first.digest == jobs.event(made(priority=9, cpus=3)).digest
    for more in (
        {"command": ["/usr/bin/train"]},
        {"environment": {"A": "b"}},
        {"models": ["base"]},
        {"extensions": ["cuda"]},
    ):
        assert jobs.event(made(**more)).digest != first.digest


@pytest.mark.parametrize("text", ["1g.10gb", "7g.80gb", "1g.10gb+me"])
def test_a_profile(text: str) -> None:
    assert jobs.is_profile(text)


@pytest.mark.parametrize("text", ["", "1g", "g.gb", "1g.10gb+", "1g.10gb+x", "1x.10gb", "1g.10g"])
def test_a_profile_that_is_none(text: str) -> None:
    assert not jobs.is_profile(text)
