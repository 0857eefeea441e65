"""What PID 1 knows of an agent becomes its sandbox, or the reason why it does not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from ainit.errors import RefusedError, UnavailableError
from ainit.linux.process import Child
from ainit.pid1.confinement import Confinement
from ainit.policy import device_filter, plan
from ainit.policy.plan import Unit
from ainit.sandbox.features import Features

ALL = frozenset({"mnt", "pid", "ipc", "uts", "cgroup", "net", "user"})
READ: list[str] = []
FILTERED: list[tuple[int, bytes]] = []


def kernel(landlock: int = 6) -> Features:
    READ.append("once")
    return Features(landlock, True, ALL, True, frozenset(), devices=True)


@pytest.fixture
def confinement(tmp_path: Path) -> Confinement:
    READ.clear()
    FILTERED.clear()
    return Confinement(
        kernel,
        str(tmp_path / "root"),
        filter_devices=lambda group, code: FILTERED.append((group, code)),
    )


def agent(**fields: object) -> Unit:
    made = Unit("notes", plan.AGENT)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def child(**environment: str) -> Child:
    return Child(["/usr/bin/python3"], environment, output=2, user=61184)


def steps(made: Child) -> str:
    assert made.sandbox is not None
    return "\n".join(each.describe() for each in (*made.sandbox.first, *made.sandbox.last))  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [plan.SERVICE, plan.JOB])
def test_others_have_none(confinement: Confinement, kind: str) -> None:
    made = child()
    confinement.lock(Unit("log", kind), made, None, [], bundle="")
    assert made.sandbox is None
    assert made.capabilities is None
    assert READ == []


def test_an_agent_is_given_what_was_measured_for_it(
    confinement: Confinement, tmp_path: Path
) -> None:
    notify = tmp_path / "notify"
    notify.touch()
    made = child(NOTIFY_SOCKET=str(notify))
    made.descriptors = [7, 8]
    confinement.lock(
        agent(),
        made,
        None,
        [],
        bundle="/run/b",
        extensions=["/run/e"],
        directories=["/run/m"],
        files=1,
    )
    for path in ("/run/b", "/run/e", "/run/m", str(notify)):
        assert f"{path} is there" in steps(made)
    assert made.capabilities == ()
    assert (tmp_path / "root").is_dir()


@pytest.mark.parametrize(
    ("sandbox", "has_it"), [({"network": ["agent:speech"]}, True), ({}, False)], ids=str
)
def test_who_may_call_others_has_the_control_socket(
    tmp_path: Path, sandbox: dict[str, object], has_it: bool
) -> None:
    control = tmp_path / "control"
    control.touch()
    root, unfiltered = str(tmp_path / "root"), lambda group, code: None
    confinement = Confinement(kernel, root, str(control), filter_devices=unfiltered)
    made = child()
    confinement.lock(agent(sandbox=sandbox), made, None, [], bundle="")
    assert (f"{control} is there" in steps(made)) is has_it


def test_who_has_a_certificate_starts_when_it_is_there(
    confinement: Confinement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ainit.pid1.confinement.IDENTITIES", str(tmp_path))
    made, unit = child(), agent(sandbox={"certificate": True})
    with pytest.raises(OSError, match="it has no certificate; `ainitctl identity` says why"):
        confinement.lock(unit, made, None, [], bundle="")
    assert made.sandbox is None
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/agent.pem").touch()
    confinement.lock(unit, made, None, [], bundle="")
    assert "/run/identity is there" in steps(made)
    confinement.lock(agent(), made, None, [], bundle="")
    assert "/run/identity" not in steps(made)


def test_its_core_limit_is_the_sandbox_s(confinement: Confinement) -> None:
    made = child()
    made.limits = {"core": 0, "nofile": 99}
    confinement.lock(agent(), made, None, [], bundle="")
    assert made.limits == {"nofile": 99}


def test_the_kernel_is_asked_once(confinement: Confinement) -> None:
    for _ in range(3):
        confinement.lock(agent(), child(), None, [], bundle="")
    assert READ == ["once"]


@pytest.mark.parametrize(
    ("landlock", "fields", "words"),
    [
        (3, {}, "Landlock of ABI 6 is needed, this kernel has 3"),
        (6, {"sandbox": {"network": ["192.0.2.7:443"]}}, "the service egress cannot be reached"),
        (6, {"sandbox": {"write": ["/srv/nothing-is-here"]}}, "/srv/nothing-is-here"),
        (6, {"sandbox": {"system_calls": ["everything"]}}, "no class of system calls everything"),
    ],
    ids=["kernel", "network", "path", "class"],
)
def test_what_cannot_be_put_in_force_is_a_refusal(
    tmp_path: Path, landlock: int, fields: dict[str, object], words: str
) -> None:
    made = child()
    root, egress = str(tmp_path / "root"), str(tmp_path / "egress")
    confinement = Confinement(lambda: kernel(landlock), root, egress=egress)
    with pytest.raises(RefusedError, match=r"^cannot be sandboxed: ") as refused:
        confinement.lock(agent(**fields), made, None, [], bundle="")
    assert words in str(refused.value)
    assert made.sandbox is None


def test_its_group_is_under_a_filter_of_devices(confinement: Confinement) -> None:
    made = child()
    made.cgroup = 7
    nodes = [node("nvidia0"), node("nvidia-caps/nvidia-cap13", 235, 0o444)]
    confinement.lock(agent(gpu_profile="1g.10gb"), made, {"devices": nodes}, [], bundle="")
    memory = [(1, minor) for minor in (3, 5, 7, 8, 9)]
    more = [*memory, (195, 0), (235, 0)]
    assert FILTERED.pop() == (7, device_filter.program(more))
    confinement.lock(agent(gpu_profile="1g.10gb"), made, None, [], bundle="")
    assert FILTERED.pop() == (7, device_filter.program(memory))


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(24, "Too many open files"), OSError), (UnavailableError("no"), RefusedError)],
)
def test_without_that_filter_it_does_not_start(
    tmp_path: Path, error: Exception, raised: type[Exception]
) -> None:
    def refuse(group: int, code: bytes) -> None:
        raise error

    made = child()
    confinement = Confinement(kernel, str(tmp_path / "root"), filter_devices=refuse)
    with pytest.raises(raised):
        confinement.lock(agent(), made, None, [], bundle="")
    assert made.sandbox is None


def node(path: object, major: object = 195, mode: object = 0o666) -> dict[str, object]:
    return {"path": path, "major": major, "minor": 0, "mode": mode}


def test_the_nodes_are_those_of_the_instance_that_it_was_given(confinement: Confinement) -> None:
    nodes = [node("nvidia0"), node("nvidia-caps/nvidia-cap13", 235, 0o444)]
    gpu: dict[str, object] = {"uuid": "MIG-0", "devices": nodes}
    given, none, other = child(), child(), child()
    confinement.lock(agent(gpu_profile="1g.10gb"), given, gpu, [], bundle="")
    confinement.lock(agent(gpu_profile="1g.10gb"), none, None, [], bundle="")
    confinement.lock(agent(), other, gpu, [], bundle="")
    assert "urandom, /dev/nvidia0, /dev/nvidia-caps/nvidia-cap13\n" in steps(given)
    assert "urandom\n" in steps(none)
    assert "urandom\n" in steps(other)


@pytest.mark.parametrize(
    "given",
    [
        [node("mem", 1)],
        [node("nvidia0/../mem", 1)],
        [node(None)],
        [node("nvidia0", "195")],
        [node("nvidia0", 195, None)],
        ["nvidia0"],
        [{}],
        "nvidia0",
    ],
    ids=str,
)
def test_what_is_no_node_of_a_gpu_is_a_refusal(confinement: Confinement, given: object) -> None:
    with pytest.raises(RefusedError, match="cannot be sandboxed: "):
        confinement.lock(agent(gpu_profile="1g.10gb"), child(), {"devices": given}, [], bundle="")
