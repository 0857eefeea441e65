"""The profile of an agent: what its record, and the rest of its manifest, make of it."""

from __future__ import annotations

import pytest

from ainit.policy import config, plan, sandbox
from ainit.policy.plan import Unit
from ainit.policy.sandbox import Profile
from ainit.wire.codec import dumps, loads

TIGHTEST = {
    "agents": (), "calls": (), "capabilities": (), "certificate": False, "endpoints": (),
    "execute": (), "execute_written": False, "has_gpu": False, "network": "none", "read": (),
    "system_calls": (), "write": (),
}  # fmt: skip
MANIFEST = """\
[agent]
exec = ["/usr/bin/python3", "."]
capabilities = ["CAP_NET_BIND_SERVICE"]
[gpu]
profile = "1g.10gb"
[sandbox]
read = ["/srv/in"]
write = ["/srv/out", "/srv/cache"]
execute = ["/usr/bin/git", "/srv/cache/tools"]
execute_written = true
network = ["192.0.2.7:443", "[2001:db8::1]:53", "api.example.org:8443", "agent:speech"]
system_calls = ["processes", "ipc"]
certificate = true
"""


def fields(profile: Profile) -> dict[str, object]:
    return {name: getattr(profile, name) for name in TIGHTEST}


def test_without_a_table_it_is_the_tightest() -> None:
    unit, findings = config.agent('[agent]\nexec = ["x"]\n', "a.toml", "a", "")
    profile = sandbox.of(unit)
    assert findings == []
    assert profile is not None
    assert fields(profile) == fields(Profile({})) == TIGHTEST
    assert "sandbox" not in unit.to_record()


def test_everything_of_a_manifest_is_in_the_plan_and_comes_back() -> None:
    unit, findings = config.agent(MANIFEST, "a.toml", "a", "")
    assert findings == []
    record = loads(dumps(unit.to_record()))
    assert isinstance(record, dict)
    profile = sandbox.of(Unit.from_record(record))
    assert profile is not None
    assert fields(profile) == {
        "agents": ("speech",),
        "calls": ("processes", "ipc", "internet", "devices"),
        "capabilities": ("CAP_NET_BIND_SERVICE",),
        "certificate": True,
        "endpoints": (("192.0.2.7", 443), ("2001:db8::1", 53), ("api.example.org", 8443)),
        "execute": ("/usr/bin/git", "/srv/cache/tools"),
        "execute_written": True,
        "has_gpu": True,
        "network": "listed",
        "read": ("/srv/in",),
        "system_calls": ("processes", "ipc"),
        "write": ("/srv/out", "/srv/cache"),
    }


@pytest.mark.parametrize("network", ["none", "loopback"])
def test_a_network_in_a_word(network: str) -> None:
    text = f'[agent]\nexec = ["x"]\n[sandbox]\nnetwork = "{network}"\n'
    profile = sandbox.of(config.agent(text, "a.toml", "a", "")[0])
    assert profile is not None
    assert (profile.network, profile.endpoints, profile.agents) == (network, (), ())


@pytest.mark.parametrize(
    ("record", "calls"),
    [
        ({"network": "none"}, ()),
        ({"network": "loopback"}, ("internet",)),
        ({"network": ["agent:speech"]}, ()),
        ({"network": ["agent:speech", "a.org:1"]}, ("internet",)),
        ({"system_calls": ["jit"], "network": "loopback"}, ("jit", "internet")),
    ],
)
def test_sockets_of_the_internet_come_with_a_network(
    record: dict[str, object], calls: tuple[str, ...]
) -> None:
    assert Profile(record).calls == calls
    assert Profile(record, has_gpu=True).calls == (*calls, "devices")


def test_agents_have_one_and_services_and_jobs_have_none() -> None:
    assert sandbox.of(Unit("a", plan.AGENT)) is not None
    assert [sandbox.of(Unit("a", kind)) for kind in (plan.SERVICE, plan.JOB)] == [None, None]


def test_a_profile_does_not_change() -> None:
    profile = Profile({})
    with pytest.raises(AttributeError, match="does not change: read"):
        profile.read = ("/etc/shadow",)
    with pytest.raises(AttributeError):
        profile.more = 1
    assert profile.read == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a:1", ("a", 1)), ("192.0.2.7:65535", ("192.0.2.7", 65535)), ("[::1]:9", ("::1", 9))],
)
def test_endpoints(text: str, expected: tuple[str, int]) -> None:
    assert sandbox.endpoint(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a", "a:", ":1", "a:b", "a:-1", "a:1e3", "a:\u0661", "a:123456", "::1:9", "[]:1"]
)
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"^has "):
        sandbox.endpoint(text)
